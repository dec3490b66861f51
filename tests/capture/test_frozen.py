"""What is changed for a while is as it was afterwards, also where the model fails inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camcli.capture import capture, freeze
from camcli.capture.cut import Forward
from camcli.capture.frozen import evaluation_mode, replace_forward
from tests.capture.test_cut import captured, direct
from tests.methods.networks import noise, random_net


def unusual_net():
    """In training, but for one part; with one parameter that needs no gradient, and hooks of the user's."""
    net = random_net().train()
    net.body.eval()
    net.stem[0].weight.requires_grad_(False)
    net.norm = nn.BatchNorm2d(2)
    net.after.register_forward_hook(lambda *_: None)
    return net


def state_of(net):
    return {
        "modes": [part.training for part in net.modules()],
        "wants": [parameter.requires_grad for parameter in net.parameters()],
        "values": {name: value.clone() for name, value in net.state_dict().items()},
        "hooks": [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in net.modules()],
        "forwards": ["forward" in vars(part) for part in net.modules()],
    }


def assert_unchanged(net, before):
    now = state_of(net)
    assert all(torch.equal(now["values"][name], value) for name, value in before.pop("values").items())
    assert {key: now[key] for key in before} == before


@pytest.mark.parametrize("context", [freeze, evaluation_mode])
@pytest.mark.parametrize("fails", [False, True])
def test_flags_are_changed_inside_and_restored(context, fails):
    net = unusual_net()
    before = state_of(net)
    try:
        with context(net), context(net):
            assert not any(part.training for part in net.modules())
            assert not any(parameter.requires_grad for parameter in net.parameters())
            net(noise(2))
            if fails:
                raise RuntimeError("inside")
    except RuntimeError:
        assert fails
    assert_unchanged(net, before)


def test_a_mode_that_the_model_changes_itself_is_restored():
    net = random_net().eval()
    net.head.register_forward_hook(lambda *_: net.train())
    before = state_of(net)
    with freeze(net):
        net(noise(1))
        assert net.training
    assert_unchanged(net, before)


class Caching(nn.Module):
    """Fills a cache when it is put into evaluation mode and reads it there, as LeViT does."""

    def __init__(self):
        super().__init__()
        self.bias, self.cache = nn.Parameter(torch.ones(1)), None

    def train(self, mode=True):
        super().train(mode)
        self.cache = None if mode else self.bias.detach() * 2
        return self

    def forward(self, x):
        return x + (2 * self.bias if self.training else self.cache)


def test_a_model_that_prepares_itself_for_evaluation_can_do_so():
    net = nn.Sequential(Caching()).train()
    with freeze(net):
        assert torch.equal(net(torch.zeros(1)), torch.full((1,), 2.0))
    assert all(part.training for part in net.modules())


class AlwaysTraining(nn.Module):
    """Refuses to leave training mode, as wrappers for dropout at test time do."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode=True):
        return super().train(True)

    def forward(self, x):
        return self.drop(x)


def test_no_part_stays_in_training_inside():
    net = AlwaysTraining()
    with freeze(net):
        assert torch.equal(net(torch.ones(1000)), torch.ones(1000))
    assert net.training
    assert net.drop.training


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_module_is_captured(in_place):
    net = random_net()
    if in_place:
        net.compile(backend="eager")
    module = net if in_place else torch.compile(net, backend="eager")
    with torch.no_grad():
        module(noise(2))  # compiled by now, without the hooks
    _, gradient = captured(module, noise(2), "body" if in_place else "_orig_mod.body")
    assert torch.allclose(gradient, direct(random_net(), noise(2), 1)[1], atol=1e-6)


def test_a_compiled_forward_method_runs_as_it_is_written():
    compilations = []

    def backend(graph, _inputs):
        compilations.append(graph)
        return graph.forward

    net = random_net()
    net.forward = torch.compile(net.forward, backend=backend)
    with torch.no_grad():
        net(noise(2))
    before = len(compilations)
    assert before > 0
    with freeze(net):  # each pass has hooks of its own, for which compiled code would be compiled again
        found = capture(Forward(net, lambda out: out), noise(2), ["body"])
    assert len(compilations) == before
    assert torch.allclose(found.activations["body"], direct(random_net(), noise(2), 1)[0], atol=1e-6)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_replaced_forward_is_put_back(own, fails):
    part, calls = nn.Identity(), []
    if own:
        part.forward = lambda x: x + 1
    before = vars(part).get("forward")
    part.register_forward_hook(lambda *_: calls.append("hook"))
    try:
        with replace_forward(part, lambda x: x * 10):
            assert float(part(torch.tensor(2.0))) == 20
            if fails:
                raise RuntimeError("inside")
    except RuntimeError:
        assert fails
    assert calls == ["hook"]
    assert vars(part).get("forward") is before
    assert float(part(torch.tensor(2.0))) == (3 if own else 2)
