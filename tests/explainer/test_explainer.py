"""What is shared between methods, and what an image's result may depend on."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camcli.errors import ConfigError, LayerError, MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.layers.layout import Layout
from camcli.methods import METHODS
from tests.methods.networks import LayerAt, StandIn, home, nchw, noise, quick, random_net

LAYERS = [nchw("body", (4, 4)), nchw("after", (4, 4))]
ALL = list(METHODS)
SHARED = ["gradcam", "layercam", "eigencam", "randomcam", "finercam", "fem"]


def top(logits, count=1):
    return logits.argsort(1, descending=True)[:, :count]


def explain(inputs, methods=SHARED, choose=top, layers=LAYERS, net=None, seeds=None, classes=5, labels=None, **options):
    model = StandIn(net or random_net(), num_classes=classes)
    explainer = Explainer(model, layers, methods, ExplainOptions(**options))
    return explainer(inputs, choose, range(len(inputs)) if seeds is None else seeds, labels)


def alone(method, inputs, choose=top, **settings):
    """One method, on a network that allows it."""
    net, layers = home(method)
    return explain(inputs, [method], choose, layers, net, method_options=quick(method), **settings)


def test_every_method_layer_and_target_gives_a_map():
    found = explain(noise(3), choose=lambda z: top(z, 2))
    wanted = {MapKey(m, layer.path, number) for m in SHARED for layer in LAYERS for number in (0, 1)}
    assert set(found.maps) == wanted
    assert all(m.shape == (3, 4, 4) and m.dtype == torch.float32 for m in found.maps.values())
    assert torch.allclose(found.probabilities.sum(1), torch.ones(3))
    assert torch.equal(found.logits.argmax(1), found.targets[:, 0])


FITTING = [m for m in ALL if home(m)[0].__class__.__name__ == "Net"]


def test_together_is_alone():
    inputs, options = noise(2), [option for m in FITTING for option in quick(m)]
    together = explain(inputs, FITTING, lambda z: top(z, 2), method_options=options).maps
    for method in FITTING:
        for number in (0, 1):
            for key, maps in alone(method, inputs, lambda z, s=number: top(z, 2)[:, s : s + 1]).maps.items():
                other = together[MapKey(method, key.layer, number)]
                assert torch.allclose(maps, other, atol=1e-5 * float(other.abs().max())), key


@pytest.mark.parametrize("method", ALL)
def test_neighbours_in_the_batch_change_no_bit(method):
    inputs = noise(4)
    others = noise(4, seed=9)
    others[2] = inputs[2]
    first = alone(method, inputs, seeds=[10, 11, 12, 13])
    second = alone(method, others, seeds=[20, 21, 12, 23])
    for key, maps in first.maps.items():
        assert torch.equal(maps[2], second.maps[key][2])


@pytest.mark.parametrize("method", ALL)
def test_place_and_size_of_the_batch_change_last_bits_at_most(method):
    inputs = noise(8)
    whole = alone(method, inputs)
    assert len({key.target_number for key in whole.maps}) == 1
    turned = alone(method, inputs.flip(0), seeds=range(7, -1, -1))
    single = [alone(method, inputs[i : i + 1], seeds=[i]) for i in range(0, 8, 3)]
    for key, maps in whole.maps.items():
        allowed = 1e-4 * maps.abs().amax((1, 2), keepdim=True)
        assert torch.isfinite(maps).all()
        assert (maps.abs().amax((1, 2)) > 0).float().mean() > 0.5  # fem and groupcam may leave nothing
        assert ((maps - turned.maps[key].flip(0)).abs() <= allowed).all()
        for i, one in zip(range(0, 8, 3), single, strict=True):
            assert ((maps[i] - one.maps[key][0]).abs() <= allowed[i]).all()


@pytest.mark.parametrize("method", [m for m in ALL if METHODS[m].class_specific])
def test_two_classes_in_one_pass_are_two_passes(method):
    both = alone(method, noise(2), lambda z: top(z, 2)).maps
    for number in (0, 1):
        for key, maps in alone(method, noise(2), lambda z, s=number: top(z, 2)[:, s : s + 1]).maps.items():
            other = both[MapKey(method, key.layer, number)]
            assert torch.allclose(maps, other, atol=1e-5 * float(other.abs().max()))
    maps = [m for key, m in both.items() if key.layer == next(iter(both)).layer]
    assert not torch.allclose(maps[0], maps[1], rtol=1e-3)


@pytest.mark.parametrize("method", [m for m in ALL if not METHODS[m].class_specific])
def test_a_class_agnostic_method_gives_all_classes_one_map(method):
    maps = alone(method, noise(2), lambda z: top(z, 2)).maps
    assert all(torch.equal(m, maps[MapKey(method, key.layer, 0)]) for key, m in maps.items())
    assert {key.target_number for key in maps} == {0, 1}


@pytest.mark.parametrize("method", [m for m in ALL if not METHODS[m].signed])
def test_what_is_called_unsigned_is_never_negative(method):
    for maps in alone(method, noise(4)).maps.values():
        assert maps.min() >= 0


@pytest.mark.parametrize("method", ALL)
def test_every_method_leaves_the_module_as_it_was_found(method):
    net, layers = home(method)
    before = copy.deepcopy(net)
    explain(noise(2), [method], layers=layers, net=net, method_options=quick(method))
    assert_untouched(net, before)


def assert_untouched(net, before):
    assert [m.training for m in net.modules()] == [m.training for m in before.modules()]
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), before.state_dict().values(), strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all("forward" not in vars(m) for m in net.modules())


def test_a_missing_target_leaves_the_other_images_alone():
    inputs, targets = noise(3), torch.tensor([[1, 2], [-1, 0], [3, -1]])
    found = explain(inputs, choose=lambda _: targets)
    full = explain(inputs, choose=lambda _: targets.clamp(min=0))
    assert torch.equal(found.targets, targets)
    for key, maps in found.maps.items():
        present = targets[:, key.target_number] >= 0
        assert torch.equal(maps[present], full.maps[key][present])


def test_unusual_flags_of_the_module_are_kept():
    net = random_net()
    net.stem[0].weight.requires_grad_(False)
    net.after.train()
    net.body.weight.grad = torch.ones_like(net.body.weight)
    before = copy.deepcopy(net)
    explain(noise(2), net=net)
    assert_untouched(net, before)
    assert torch.equal(net.body.weight.grad, torch.ones_like(net.body.weight))
    assert all(p.grad is None for name, p in net.named_parameters() if name != "body.weight")


def test_an_error_inside_the_model_leaves_it_as_it_was_found():
    net = random_net()
    with pytest.raises(RuntimeError):
        explain(noise(2, channels=4), net=net)
    assert not any(m._forward_hooks for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())
    assert torch.is_grad_enabled()


class Tokens(nn.Module):
    """The body of a network as tokens (N, 2 + 16, 8) with two prefix tokens, or as (N, h, w, K)."""

    def __init__(self, net, kind):
        super().__init__()
        self.net, self.kind, self.out = net, kind, nn.Identity()

    def forward(self, x):
        maps = self.net.body(self.net.stem(x))
        if self.kind == "nhwc":
            maps = self.out(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            tokens = torch.cat([torch.ones(len(x), 2, 8), maps.flatten(2).transpose(1, 2)], 1)
            maps = self.out(tokens)[:, 2:].transpose(1, 2).unflatten(2, (4, 4))
        return self.net.head(self.net.act(self.net.after(self.net.act(maps.clone()))))


@pytest.mark.parametrize("kind", ["nhwc", "tokens"])
def test_other_layouts_give_the_same_maps(kind):
    layer = LayerAt("out", Layout(kind, (4, 4), 2 if kind == "tokens" else 0))
    found = explain(noise(2), layers=[layer], net=Tokens(random_net(), kind))
    expected = explain(noise(2), layers=[nchw("body", (4, 4))])
    for key, maps in found.maps.items():
        other = expected.maps[MapKey(key.method, "body", 0)]
        assert torch.allclose(maps, other, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_float32_maps_close_by(precision):
    exact = explain(noise(2), ["gradcam", "eigencam"], precision="fp32")
    found = explain(noise(2), ["gradcam", "eigencam"], precision=precision)
    for key, maps in found.maps.items():
        assert maps.dtype == torch.float32
        assert not torch.equal(maps, exact.maps[key])
        assert (maps - exact.maps[key]).abs().max() < 0.05 * exact.maps[key].abs().max()


def test_a_module_in_half_precision_runs_in_it():
    found = explain(noise(2), ["gradcam"], net=random_net().to(torch.bfloat16))
    exact = explain(noise(2), ["gradcam"])
    key = MapKey("gradcam", "body", 0)
    assert (found.maps[key] - exact.maps[key]).abs().max() < 0.05 * exact.maps[key].abs().max()


def test_a_bad_image_spoils_no_other():
    inputs = noise(3)
    clean = explain(inputs)
    inputs[1] = torch.nan
    found = explain(inputs, choose=lambda _: clean.targets)
    for key, maps in found.maps.items():
        assert torch.isnan(maps[1]).any() or key.method.startswith("gradcam"), key
        assert torch.equal(maps[[0, 2]], clean.maps[key][[0, 2]])


def test_a_multi_label_model_has_sigmoid_probabilities():
    explainer = Explainer(StandIn(random_net(), multi_label=True), LAYERS, ["gradcam"], ExplainOptions(score="prob"))
    found = explainer(noise(2), top, [0, 1])
    assert torch.allclose(found.probabilities, found.logits.sigmoid())


def test_a_model_with_one_logit_has_sigmoid_probabilities_and_gradients():
    found = explain(noise(2), ["gradcam"], net=random_net(classes=1), classes=1, score="prob")
    assert torch.allclose(found.probabilities, found.logits.sigmoid())
    assert found.maps[MapKey("gradcam", "body", 0)].abs().max() > 0


@pytest.mark.parametrize("method", [m.key for m in METHODS.values() if m.weighted])
def test_eigen_smooth_is_another_map_of_the_same_method(method):
    plain, smooth = (alone(method, noise(2), eigen_smooth=flag).maps[MapKey(method, "body", 0)] for flag in (0, 1))
    assert torch.isfinite(smooth).all()
    assert not torch.allclose(plain, smooth)
    assert torch.allclose(smooth.mean((1, 2)), torch.zeros(2), atol=1e-5)  # centred over the positions


@pytest.mark.parametrize(
    ("methods", "options", "error", "words"),
    [
        (["gradcan"], {}, MethodError, "gradcam"),
        ([], {}, MethodError, "cam methods"),
        (["gradcam"], {"method_options": ["gradcam.samples=3"]}, MethodError, "no options"),
        (["gradcam"], {"method_options": ["nonsense"]}, MethodError, "METHOD.KEY=VALUE"),
        (["gradcam"], {"method_options": ["layercam.x=1"]}, MethodError, "no option"),
        (["gradcam"], {"score": "loss"}, ConfigError, "neg-logit"),
        (["gradcam"], {"precision": "int8"}, ConfigError, "bf16"),
        (["gradcam"], {"probability": "x"}, ConfigError, "sigmoid"),
        (["eigencam"], {"eigen_smooth": True}, MethodError, "gradcam"),
    ],
)
def test_wrong_use_is_named_before_any_image(methods, options, error, words):
    with pytest.raises(error, match=words):
        Explainer(StandIn(random_net()), LAYERS, methods, ExplainOptions(**options))


def test_a_layer_behind_the_score_is_refused_by_gradient_methods():
    class Side(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net, self.side = net, nn.Conv2d(3, 4, 1)

        def forward(self, x):
            self.side(x)
            return self.net(x)

    layers = [nchw("side", (16, 16))]
    with pytest.raises(LayerError, match="no gradient at layer side"):
        explain(noise(1), ["gradcam"], layers=layers, net=Side(random_net()))
    assert explain(noise(1), ["eigencam"], layers=layers, net=Side(random_net())).maps


def test_the_plan_names_the_passes():
    plan = Explainer(StandIn(random_net()), LAYERS, ["gradcam", "eigencam"], ExplainOptions()).plan()
    assert "forward" in plan[0]
    assert "backward" in plan[1]
    assert "eigencam" not in plan[1]


def test_a_caller_inside_no_grad_is_served():
    with torch.no_grad():
        found = explain(noise(1), ["gradcam"], score="prob")
    expected = explain(noise(1), ["gradcam"], score="prob")
    assert all(torch.equal(maps, expected.maps[key]) for key, maps in found.maps.items())
