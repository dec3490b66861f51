"""FullGrad where a bias acts on windows, heads or tokens rather than on a map of each image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from camcli.capture import freeze
from camcli.explainer import Explainer
from camcli.explainer.biases import split_scores

from .networks import StandIn, nchw, noise, seeded
from .test_whole_networks import complete


class Windows(nn.Module):
    """Convolution, a linear layer on windows of 2 × 2 in an order of choice, ReLU, pooling: piecewise linear."""

    def __init__(self, order: str, flat: bool = False) -> None:
        super().__init__()
        self.order, self.flat = order, flat
        self.body, self.mlp, self.last = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = self.body(x).unflatten(3, (2, 2)).unflatten(2, (2, 2))  # N, K, rows, 2, columns, 2
        y = y.permute(*((0, 2, 4, 3, 5, 1) if self.order in ("images", "loop") else (2, 4, 0, 3, 5, 1)))
        shape = y.shape
        y = y.reshape(-1, 2, 2, 6) if self.order != "tokens" else y.flatten(3, 4).flatten(0, 1).flatten(1, 2)
        y = self.mlp(y.flatten(1, 2) if self.flat else y).relu()
        y = y.reshape(shape)
        y = y.mean((1, 2, 3, 4)) if self.order in ("images", "loop") else y.mean((0, 1, 3, 4))
        if self.order == "loop":
            return torch.stack([self.head(self.last(row).relu()) for row in y])
        return self.head(self.last(y).relu())


class HeadsAndTokens(nn.Module):
    """A linear layer on (N, heads, tokens, K): four dimensions, but no map."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.own, self.head = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(3, 3), nn.Linear(6, 5)

    def forward(self, x):
        y = self.body(x).relu().flatten(2).transpose(1, 2).unflatten(2, (2, 3)).transpose(1, 2)
        return self.head(self.own(y).relu().transpose(1, 2).flatten(2).mean(1))


NETS = {
    "image after image": lambda: Windows("images"),
    "tokens of windows": lambda: Windows("images", flat=True),
    "window after window": lambda: Windows("windows"),
    "tokens before images": lambda: Windows("tokens"),
    "image by image": lambda: Windows("loop"),
    "heads": HeadsAndTokens,
}


@pytest.mark.parametrize("name", NETS)
def test_contributions_stay_with_their_image_and_are_complete(name):
    net, inputs, targets = seeded(NETS[name]), noise(4, seed=2), torch.tensor([0, 3, 4, 1])
    total, score = complete(net, inputs, targets, [nchw("body", (4, 4))])
    assert torch.allclose(total, score, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_a_batch_gives_the_maps_of_single_images(name):
    net, inputs, targets = seeded(NETS[name]), noise(4, seed=2), torch.tensor([[0], [3], [4], [1]])
    explainer = Explainer(StandIn(net), [nchw("body", (4, 4))], ["fullgrad"])
    (batch,) = explainer(inputs, lambda _: targets, range(4)).maps.values()
    for i in range(4):
        (single,) = explainer(inputs[i : i + 1], lambda _, i=i: targets[i : i + 1], [i]).maps.values()
        np.testing.assert_allclose(batch[i], single[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "apart"),
    [
        ("image after image", False),
        ("heads", False),
        ("window after window", True),
        ("tokens before images", True),
        ("image by image", True),
    ],
)
def test_images_run_alone_where_their_rows_are_not_in_order(name, apart):
    explainer = Explainer(StandIn(seeded(NETS[name])), [nchw("body", (4, 4))], ["fullgrad"])
    assert explainer._plan.images_apart == apart
    assert any("each runs alone" in line for line in explainer.plan()) == apart


@pytest.mark.parametrize("name", ["image after image", "heads"])
def test_windows_and_heads_are_no_places_in_the_image(name):
    net = seeded(NETS[name])
    plan = Explainer(StandIn(net), [nchw("body", (4, 4))], ["fullgrad"])._plan
    with freeze(net):
        (parts,) = split_scores(plan, noise(2), torch.tensor([1, 2]))
    assert [tuple(maps.shape) for maps in parts.maps] == [(2, 6, 4, 4)]
    assert all(len(vectors) == 2 and vectors.ndim == 2 for vectors in parts.vectors)


@pytest.mark.parametrize(("name", "path", "size"), [("maxvit_rmlp_pico_rw_256", "stages.3", 256)])
def test_a_batch_of_a_network_of_windows_gives_the_maps_of_single_images(name, path, size):
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=5).eval()
    inputs, targets = noise(2, size=size), torch.tensor([[0], [3]])
    explainer = Explainer(StandIn(net, size=size), [nchw(path, (8, 8))], ["fullgrad"])
    (batch,) = explainer(inputs, lambda _: targets, range(2)).maps.values()
    assert batch.shape == (2, size, size)
    for i in range(2):
        (single,) = explainer(inputs[i : i + 1], lambda _, i=i: targets[i : i + 1], [i]).maps.values()
        np.testing.assert_allclose(batch[i], single[0], rtol=1e-3, atol=1e-4 * float(single.max()))
