"""Every method whose map follows from A and g, against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camcli.explainer import Explainer, ExplainOptions, MapKey

from .naive import NAIVE, Image
from .networks import StandIn, nchw, noise, random_net

SCORES = {
    "logit": lambda z, c: z[c],
    "neg-logit": lambda z, c: -z[c],
    "prob": lambda z, c: torch.softmax(z, 0)[c],
}


def image_in_float64(net, pixels, target, score):
    """A behind ``body`` and ∂S/∂A of one image, by autograd through the whole network."""
    net = net.double()
    a = net.body(net.stem(pixels[None].double())).detach().requires_grad_()
    z = net.head(net.act(net.after(net.act(a.clone()))))[0]
    (g,) = torch.autograd.grad(SCORES[score](z, target), a)
    return Image(a[0].detach().numpy(), g[0].numpy())


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("method", NAIVE)
def test_method_is_its_formula(method, score):
    inputs, targets = noise(4, seed=3), torch.tensor([[0], [4], [2], [2]])
    explainer = Explainer(StandIn(random_net(5)), [nchw("body", (4, 4))], [method], ExplainOptions(score=score))
    found = explainer(inputs, lambda _: targets, range(4)).maps[MapKey(method, "body", 0)]
    for i in range(4):
        expected = NAIVE[method](image_in_float64(random_net(5), inputs[i], int(targets[i]), score))
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_randomcam_is_a_sum_with_weights_between_minus_one_and_one():
    inputs = noise(1)
    explainer = Explainer(StandIn(random_net()), [nchw("body", (4, 4))], ["randomcam"])
    maps = [explainer(inputs, zeros, [seed]).maps[MapKey("randomcam", "body", 0)][0] for seed in (1, 1, 2)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])
    net = random_net()
    a = net.body(net.stem(inputs))[0].detach().flatten(1)
    weights = torch.linalg.lstsq(a.T.double(), maps[0].flatten()[:, None].double()).solution
    assert torch.allclose(a.T.double() @ weights, maps[0].flatten()[:, None].double(), atol=1e-5)
    assert weights.abs().max() <= 1


def zeros(logits):
    return torch.zeros(len(logits), 1, dtype=torch.int64)
