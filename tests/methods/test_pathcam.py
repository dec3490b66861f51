"""PathCAM: several layers against the formula, completeness, batches, options, and which layers it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camcli.capture import Forward
from camcli.device import BatchLimit
from camcli.errors import MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.explainer.access import Chunks
from camcli.explainer.blocks import find_blocks_at
from camcli.methods import METHODS, parse_options
from camcli.methods.base import LayerChoice
from camcli.methods.pathcam import log_odds
from tests.tiny import build

from .naive_paths import pathcam, places
from .networks import LayerAt, StandIn, Transformer, nchw, noise, random_net, seeded, tokens

SEVERAL = [nchw("stem", (8, 8)), nchw("body", (4, 4)), nchw("after", (4, 4))]
PATHS = [layer.path for layer in SEVERAL]
TARGETS = torch.tensor([[0, 3], [4, 1], [2, 0]])


def explain(
    inputs: Tensor, *options: str, model: StandIn | None = None, layers: Any = SEVERAL, chunks: Chunks | None = None,
    targets: Tensor = TARGETS, real: int | None = None, **settings: Any,
) -> list[Tensor]:  # fmt: skip
    """The maps of each target."""
    own = ExplainOptions(method_options=[f"pathcam.{option}" for option in options], **settings)
    explainer = Explainer(model or StandIn(random_net(5)), layers, ["pathcam"], own)
    if chunks is not None:
        explainer._chunks = chunks
    result = explainer(inputs, lambda _: targets[: len(inputs)], range(len(inputs)), real=real)
    assert {key.method for key in result.maps} == {"pathcam"}
    return list(result.maps.values())


def assert_close(maps: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "keywords"),
    [((), {}), (("steps=3", "ordered=2"), {"steps": 3, "ordered": 2}), (("ordered=0",), {"ordered": 0})],
)
def test_several_layers_are_summed_as_in_the_formula(options, keywords):
    inputs = noise(3, seed=3)
    for number, maps in enumerate(explain(inputs, *options)):
        for image, target in enumerate(TARGETS[:, number].tolist()):
            assert_close(maps[image], pathcam(places(random_net(5), PATHS, inputs[image]), target, **keywords))


def test_the_log_odds_of_independent_classes_are_logits():
    inputs = noise(3, seed=3)
    (maps, _) = explain(inputs, model=StandIn(random_net(5), multi_label=True))
    expected = pathcam(places(random_net(5), PATHS, inputs[1]), 4, link="sigmoid")
    assert_close(maps[1], expected)


def test_the_log_odds_of_one_logit_are_the_logit():
    z = torch.tensor([[2.0], [-1.0]])
    assert torch.equal(log_odds(z, torch.zeros(2, dtype=torch.int64), "softmax"), z[:, 0])
    z, targets = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([0, 1])
    assert torch.equal(log_odds(z, targets, "softmax"), torch.tensor([3.0, 2.5]))
    assert torch.equal(log_odds(z, targets, "sigmoid"), torch.tensor([2.0, 3.0]))


def test_tokens_keep_the_class_token():
    net, inputs = seeded(Transformer), noise(2, seed=4)
    layers = [tokens("blocks.0"), tokens("blocks.1")]
    (maps, _) = explain(inputs, model=StandIn(net), layers=layers)
    for image in range(2):
        own = places(seeded(Transformer), ["blocks.0", "blocks.1"], inputs[image], grid=(4, 4))
        assert_close(maps[image], pathcam(own, int(TARGETS[image, 0])))


def test_the_straight_path_adds_up_to_the_change_of_the_log_odds():
    inputs, net = noise(3, seed=3), random_net(5, smooth=True)
    changes = []
    for image, target in enumerate(TARGETS[:, 0].tolist()):
        change = 0.0
        for place in places(random_net(5, smooth=True), PATHS, inputs[image]):
            a = place.activation
            ends = torch.stack([place.logits(a), place.logits(a.mean((1, 2), keepdim=True).expand_as(a))])
            odds = log_odds(ends, torch.tensor([target] * 2), "softmax")
            change += float((odds[0] - odds[1]).detach())
        changes.append(change)
    errors = []
    for steps in (2, 8, 32):
        (maps, _) = explain(inputs, "ordered=0", f"steps={steps}", model=StandIn(net.float()))
        errors.append(float((maps.sum((1, 2)) - torch.tensor(changes)).abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3 * max(abs(change) for change in changes)


def test_the_probability_explains_the_same_as_the_logit():
    for one, other in zip(explain(noise(3)), explain(noise(3), score="prob"), strict=True):
        assert torch.equal(one, other)


def test_other_images_of_a_batch_change_nothing():
    inputs = noise(3, seed=6)
    together = explain(inputs)
    for image in range(3):
        alone = explain(inputs[image : image + 1], targets=TARGETS[image : image + 1])
        for one, several in zip(alone, together, strict=True):
            assert torch.allclose(one[0], several[image], atol=1e-4 * float(one.abs().max()))
    backwards = explain(inputs.flip(0), targets=TARGETS.flip(0))
    assert all(torch.equal(one.flip(0), other) for one, other in zip(backwards, together, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(explain(inputs), together, strict=True))


def test_padding_repeats_the_last_image_without_trials_of_its_own():
    net = random_net(5)
    rows = []
    net.head.register_forward_pre_hook(lambda _m, args: rows.append(len(args[0])))
    chunks = Chunks(1, BatchLimit(128))
    inputs = torch.cat([noise(2), noise(2)[-1:], noise(2)[-1:]])
    targets = TARGETS[[0, 1, 1, 1]]
    counts, maps = [], []
    for real in (None, 2):
        explain(inputs, model=StandIn(net), targets=targets, chunks=chunks, real=real)  # traced before
        rows.clear()
        maps.append(explain(inputs, model=StandIn(net), targets=targets, chunks=chunks, real=real))
        counts.append(sum(rows))
    assert all(torch.equal(one, other) for one, other in zip(*maps, strict=True))
    assert counts[0] - counts[1] == 2 * 2 * len(SEVERAL) * (8 + 2 * 4)  # images, targets, layers, trials


@pytest.mark.parametrize("most", [1, 3, 5, 16, 40])
def test_trials_run_in_chunks_that_fit(most):
    net = random_net(5)
    sizes: list[int] = []
    chunks = Chunks(1 << 30, BatchLimit(most))
    inputs = noise(3)
    net.head.register_forward_pre_hook(lambda _m, args: sizes.append(len(args[0])) if torch.is_grad_enabled() else None)
    small = explain(inputs, model=StandIn(net), chunks=chunks)
    assert max(sizes[1:]) <= max(3, most)  # the first: the shared pass of three images
    for one, other in zip(small, explain(inputs), strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(other.abs().max()))


def test_trials_that_do_not_fit_are_run_again_with_half_as_many():
    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.most = random_net(5), 1000

        def forward(self, x: Tensor) -> Tensor:
            y = self.net.after(torch.relu(self.net.body(self.net.stem(x))))
            if len(y) > self.most:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return self.net.head(torch.relu(y))

    layers = [nchw("net.stem", (8, 8)), nchw("net.body", (4, 4))]
    roomy, tight = Limited(), Limited()
    tight.most = 5
    expected = explain(noise(3), model=StandIn(roomy), layers=layers)
    for one, other in zip(expected, explain(noise(3), model=StandIn(tight), layers=layers), strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(one.abs().max()))


def test_an_image_without_finite_activations_leaves_the_others_alone():
    inputs = noise(3)
    expected = explain(inputs)
    broken = inputs.clone()
    broken[1] = torch.nan
    for one, other in zip(explain(broken), expected, strict=True):
        assert one[1].isnan().all()
        assert torch.equal(one[[0, 2]], other[[0, 2]])


def test_the_fast_preset_gives_way_to_what_is_typed():
    method = METHODS["pathcam"]
    fast = parse_options([method], ["pathcam.steps=6", "pathcam.fast=true"])["pathcam"]
    assert fast == {"steps": 6, "ordered": 0, "layers": "16:32:32", "fast": True}
    assert method.cost_with(fast) == "F+18(T+B)"
    assert method.cost_with(parse_options([method], [])["pathcam"]) == method.cost
    assert method.cost_with(parse_options([method], ["pathcam.fast=true"])["pathcam"]) == "F+12(T+B)"


def test_models_without_classes_are_refused():
    with pytest.raises(MethodError, match="pathcam"):
        Explainer(StandIn(random_net(), num_classes=None), SEVERAL, ["pathcam"])


@pytest.mark.parametrize(
    ("name", "path", "strides", "expected"),
    [
        ("resnet18", "layer4", (8, 16, 32), ["layer2", "layer3", "layer4"]),
        ("resnet18", "layer4", (16, 32, 32), ["layer3", "layer4.0", "layer4"]),
        ("resnet18", "layer3", (8, 16, 32), ["layer2", "layer3"]),
        ("tf_efficientnet_lite0", "bn2", (8, 16, 32), ["blocks.2", "blocks.4", "blocks.6"]),
        ("tf_efficientnet_lite0", "bn2", (16, 32, 32), ["blocks.4", "blocks.5", "blocks.6"]),
        ("tf_efficientnet_lite0", "bn2", (64, 128, 256), ["blocks.2", "blocks.4", "blocks.6"]),
        ("convnext_atto", "stages.3", (16, 32, 32), ["stages.2", "stages.3.blocks.0", "stages.3"]),
    ],
)
def test_layers_are_the_last_blocks_at_the_strides(name, path, strides, expected):
    import timm

    net = timm.create_model(name).eval()
    layer = nchw(path, (8, 8) if path == "layer3" else (4, 4))
    choice = LayerChoice(strides, (1 / 3, 2 / 3, 1.0))
    blocks = find_blocks_at(Forward(net, lambda out: out), layer, torch.zeros(1, 3, 128, 128), choice)
    assert [block.path for block in blocks] == expected
    assert blocks[-1].layout.grid == layer.layout.grid


@pytest.mark.parametrize("size", [224, 240, 260, 299])
def test_strides_do_not_depend_on_how_sizes_are_rounded(size):
    import timm

    net = timm.create_model("tf_efficientnet_lite0").eval()
    layer = nchw("blocks.6", (-(-size // 32), -(-size // 32)))
    forward, inputs = Forward(net, lambda out: out), torch.zeros(1, 3, size, size)
    full = find_blocks_at(forward, layer, inputs, LayerChoice((8, 16, 32), (1 / 3, 2 / 3, 1.0)))
    fast = find_blocks_at(forward, layer, inputs, LayerChoice((16, 32, 32), (2 / 3, 5 / 6, 1.0)))
    assert [block.path for block in full] == ["blocks.2", "blocks.4", "blocks.6"]
    assert [block.path for block in fast] == ["blocks.4", "blocks.5", "blocks.6"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("8", ["blocks.2"]), ("16:16", ["blocks.3", "blocks.4"]), ("4:32", ["blocks.1", "blocks.6"])],
)
def test_layers_that_are_typed_are_taken(typed, expected):
    import timm

    choice = METHODS["pathcam"].layers(parse_options([METHODS["pathcam"]], [f"pathcam.layers={typed}"])["pathcam"])
    net, layer = timm.create_model("tf_efficientnet_lite0").eval(), nchw("blocks.6", (4, 4))
    blocks = find_blocks_at(Forward(net, lambda out: out), layer, torch.zeros(1, 3, 128, 128), choice)
    assert [block.path for block in blocks] == expected


def test_a_stride_that_is_typed_and_not_there_is_refused():
    import timm

    choice = METHODS["pathcam"].layers(parse_options([METHODS["pathcam"]], ["pathcam.layers=16:64"])["pathcam"])
    net, layer = timm.create_model("resnet18").eval(), nchw("layer4", (4, 4))
    with pytest.raises(MethodError, match=r"layers=16:64: no block up to layer4 has stride 64; there are 4, 8, 16, 32"):
        find_blocks_at(Forward(net, lambda out: out), layer, torch.zeros(1, 3, 128, 128), choice)


@pytest.mark.parametrize(
    ("layer", "depths", "expected"),
    [
        (tokens("blocks.2"), (1 / 3, 2 / 3, 1.0), ["blocks.0", "blocks.1", "blocks.2"]),
        (tokens("blocks.2.norm1"), (1 / 3, 2 / 3, 1.0), ["blocks.0", "blocks.1"]),
        (LayerAt("blocks.0", tokens("").layout), (2 / 3, 5 / 6, 1.0), ["blocks.0"]),
    ],
)
def test_a_network_of_one_grid_has_blocks_at_depths(layer, depths, expected):
    forward = Forward(seeded(Transformer), lambda out: out)
    blocks = find_blocks_at(forward, layer, torch.zeros(1, 3, 16, 16), LayerChoice((8, 16, 32), depths))
    assert [block.path for block in blocks] == expected
    assert all(block.layout == layer.layout for block in blocks)


def test_the_layers_of_each_method_are_its_own():
    model, layers = StandIn(build().eval(), size=64, num_classes=4), [nchw("features", (8, 8))]
    targets = torch.tensor([[0, 3], [1, 2]])
    maps = Explainer(model, layers, ["gradcam", "pathcam", "refinecam"])(
        noise(2, size=64), lambda _: targets, [0, 1]
    ).maps
    assert list(dict.fromkeys((key.method, key.layer) for key in maps)) == [
        ("gradcam", "features"), ("pathcam", ("features.5", "features.8")), ("refinecam", ("features.5", "features")),
    ]  # fmt: skip
    assert maps[MapKey("pathcam", ("features.5", "features.8"), 1)].shape == (2, 16, 16)
