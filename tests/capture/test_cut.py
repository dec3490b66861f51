"""The cut graph: right gradients, nothing recorded in the prefix, whatever the model does around the layer."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camcli.capture import Forward, capture, freeze
from camcli.capture.outputs import main_tensor
from camcli.errors import LayerError
from tests.methods.networks import noise, random_net

Pair = namedtuple("Pair", "maps extra")


def direct(net, inputs, target):
    """Activations of ``body`` and their gradients by plain autograd through the whole network."""
    a = net.body(net.stem(inputs))
    a.retain_grad()
    z = net.head(net.act(net.after(net.act(a.clone()))))
    (g,) = torch.autograd.grad(z[:, target].sum(), a)
    return a.detach(), g, z.detach()


def captured(net, inputs, path="body", target=1):
    with freeze(net):
        found = capture(Forward(net, lambda out: out), inputs, [path])
        return found, found.gradients(found.logits[:, target], [path])[path]


class Wrapped(nn.Module):
    """The same function, with something in the way."""

    def __init__(self, net, kind):
        super().__init__()
        self.net, self.kind, self.body = net, kind, Body(net, kind)

    def forward(self, x):
        if self.kind == "no_grad":
            with torch.no_grad():
                a = self.body(x)
        elif self.kind == "no_grad_and_more":
            with torch.no_grad():
                a = self.body(x) * 1.0
        elif self.kind == "inference":
            with torch.inference_mode():
                a = self.body(x)
        else:
            a = self.body(x)
        a = main_tensor(a)
        if self.kind == "inplace":
            return self.net.head(F.relu_(self.net.after(F.relu_(a))))
        return self.net.head(torch.relu(self.net.after(torch.relu(a))))


class Body(nn.Module):
    def __init__(self, net, kind):
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, x):
        a = self.net.body(self.net.stem(x))
        outputs = {"tuple": (a, None), "named": Pair(a, 3), "dict": {"a": a, "b": "text"}, "list": [[a], 1]}
        return outputs.get(self.kind, a)


KINDS = ["plain", "no_grad", "no_grad_and_more", "inference", "inplace", "tuple", "named", "dict", "list"]


@pytest.mark.parametrize("kind", KINDS)
def test_activations_and_gradients_are_those_of_the_whole_graph(kind):
    inputs = noise(3)
    a, g, z = direct(random_net(), inputs, 1)
    found, gradient = captured(Wrapped(random_net(), kind), inputs)
    assert torch.allclose(found.activations["body"], a, atol=1e-6)
    assert torch.allclose(gradient, g, atol=1e-7)
    assert torch.allclose(found.logits, z, atol=1e-6)


def test_frozen_parameters_are_no_obstacle():
    net = random_net().requires_grad_(False)
    _, gradient = captured(net, noise(2))
    assert torch.allclose(gradient, direct(random_net(), noise(2), 1)[1], atol=1e-7)


def test_the_prefix_is_not_recorded():
    net, seen = random_net(), {}
    net.stem.register_forward_hook(lambda m, i, out: seen.update(stem=out.requires_grad))
    net.after.register_forward_hook(lambda m, i, out: seen.update(after=out.requires_grad))
    captured(net, noise(1))
    assert seen == {"stem": False, "after": True}


def test_two_layers_one_behind_the_other():
    net, inputs = random_net(), noise(2)
    with freeze(net):
        found = capture(Forward(net, lambda out: out), inputs, ["body", "after"])
        gradients = found.gradients(found.logits[:, 1], ["body", "after"])
    assert torch.allclose(gradients["body"], captured(random_net(), inputs)[1], atol=1e-7)
    assert torch.allclose(gradients["after"], captured(random_net(), inputs, "after")[1], atol=1e-7)
    # net.act works in place on what follows both: neither activation may have been overwritten.
    assert (found.activations["body"] < 0).any()
    assert (found.activations["after"] < 0).any()


def test_without_gradients_an_in_place_operation_overwrites_nothing():
    net = random_net()
    with freeze(net):
        found = capture(Forward(net, lambda out: out), noise(2), ["body"], gradients=False)
    assert (found.activations["body"] < 0).any()
    assert not found.logits.requires_grad


def test_grad_mode_of_the_caller_is_kept():
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            with freeze(net := Wrapped(random_net(), "no_grad")):
                found = capture(Forward(net, lambda out: out), noise(1), ["body"])
            assert found.logits.requires_grad
            assert torch.is_grad_enabled() is mode


def test_a_layer_that_runs_twice_is_refused_by_name():
    with pytest.raises(LayerError, match="'act' runs more than once"):
        captured(random_net(), noise(1), "act")


def test_a_layer_that_never_runs_is_refused_by_name():
    net = random_net()
    net.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(LayerError, match="'unused' does not run"):
        captured(net, noise(1), "unused")


def test_a_module_in_data_parallel_is_captured():
    _, gradient = captured(nn.DataParallel(random_net()), noise(2), "module.body")
    assert torch.allclose(gradient, direct(random_net(), noise(2), 1)[1], atol=1e-6)
