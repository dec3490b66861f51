"""Gradients in half precision: scaled where they would vanish, not scaled where that would overflow."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge

from camcli.capture import Forward, capture, freeze, gradients_of
from tests.methods.networks import noise


def test_tiny_gradients_survive_fp16():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.body(x).mean((2, 3)) * 2e-5

    net = Tiny()
    with freeze(net):
        found = capture(Forward(net, lambda out: out, "fp16"), noise(1), ["body"])
        gradient = found.gradients(found.logits[:, 1], ["body"])["body"]
    assert gradient[0, 1].min() == pytest.approx(2e-5 / 256, rel=0.01)


def test_a_gradient_too_large_for_the_scaled_score_in_fp16_is_still_right():
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.body(x).sum((2, 3)).float() * 100

    net = Steep()
    with freeze(net):
        found = capture(Forward(net, lambda out: out, "fp16"), noise(1), ["body"])
        gradient = found.gradients(found.logits[:, 1], ["body"])["body"]
    assert torch.allclose(gradient[0, 1], torch.full((16, 16), 100.0))


def test_a_place_in_the_graph_counts_like_the_tensor_itself():
    node = torch.tensor([[1.0, 2.0]], requires_grad=True)
    inner = node * 3
    scores = inner.square().sum(1)
    by_tensor, by_edge = (gradients_of(scores, [x], keep_graph=True)[0] for x in (inner, get_gradient_edge(inner)))
    assert torch.equal(by_tensor, torch.tensor([[6.0, 12.0]]))
    assert torch.equal(by_edge, by_tensor)


@pytest.mark.parametrize(("factor", "expected"), [(2.0**-26, 2.0**-26), (600.0, 600.0)])
def test_a_place_in_the_graph_of_a_half_precision_pass_has_its_true_gradient(factor, expected):
    leaf = torch.ones(1, 4, dtype=torch.float16, requires_grad=True)
    inner = leaf * 1
    scores = (inner.float() * factor).sum(1)
    (gradient,) = gradients_of(scores, [get_gradient_edge(inner)], half=True)
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient, torch.full((1, 4), expected))


def test_what_the_scores_do_not_depend_on_has_no_gradient():
    node, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    own, none = gradients_of(node * 2, [node, other])
    assert torch.equal(own, torch.full((2,), 2.0))
    assert none is None
    assert gradients_of(torch.ones(2), [node]) == [None]
