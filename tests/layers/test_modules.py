"""Models as people bring them: wrapped, halved, detached, with tuples and dictionaries for outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from camcli.errors import LayerError, ModelError
from camcli.layers import Layout, resolve_layers
from camcli.layers.layout import LayoutFlag
from camcli.layers.measurements import measure_layers
from tests.layers.standin import StandIn, standin


class Net(nn.Module):
    """A stem, a stage that returns what ``wrap`` makes of its maps, a head."""

    def __init__(self, wrap: Any = lambda maps: maps, unwrap: Any = lambda out: out, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(channels, 8, 4, 4)
        self.stage = Stage(wrap)
        self.unwrap = unwrap
        self.head = nn.Linear(8, 5)

    def features(self, x: Tensor) -> Tensor:
        return self.unwrap(self.stage(self.stem(x).relu()))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class Stage(nn.Module):
    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap((x + self.conv(x)).relu())


MAPS = Layout("nchw", (8, 8))


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda maps: (maps, None), lambda out: out[0]),
        (lambda maps: [maps.mean((2, 3)), maps], lambda out: out[1]),
        (lambda maps: {"size": 8, "maps": maps}, lambda out: out["maps"]),
        (lambda maps: ({"a": {"b": maps}},), lambda out: out[0]["a"]["b"]),
    ],
)
def test_tuples_and_dictionaries_as_module_outputs(wrap: Any, unwrap: Any) -> None:
    model = standin(Net(wrap, unwrap), 32)
    [layer] = resolve_layers(model, ["stage"])
    assert (layer.layout, layer.proof, layer.channels) == (MAPS, "proven", 8)
    assert resolve_layers(model, ["auto"])[0].layout == MAPS


class Detached(Net):
    """The prefix without a graph, as feature extractors are often written."""

    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().features(x)


class Decorated(Net):
    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        return super().features(x)


@pytest.mark.parametrize("kind", [Detached, Decorated])
def test_a_prefix_without_a_graph(kind: type[Net]) -> None:
    model = standin(kind(), 32)
    [layer] = resolve_layers(model, ["auto"])
    assert (layer.path, layer.layout) == ("stage", MAPS)
    assert resolve_layers(model, ["stem"])[0].proof == "proven"  # autograd records from the layer on


def test_data_parallel() -> None:
    [layer] = resolve_layers(standin(nn.DataParallel(Net()), 32), ["stage"])
    assert (layer.path, layer.layout) == ("module.stage", MAPS)
    assert resolve_layers(standin(nn.DataParallel(Net()), 32), ["auto"])[0].path == "module.stage"


def test_an_input_the_model_does_not_take_is_explained() -> None:
    with pytest.raises(ModelError, match=r"an input of \(1, 1, 32, 32\) fails.*The input has 1 channels"):
        resolve_layers(standin(Net(), 32, channels=1), ["auto"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    [layer] = resolve_layers(standin(Net().to(dtype), 32), ["auto"])
    assert (layer.path, layer.layout, layer.proof) == ("stage", MAPS, "proven")


def test_small_gradients_are_found_in_float16() -> None:
    net = Net()
    net.head.weight.data.mul_(1e-6)  # over 64 positions: below what float16 can hold
    [layer] = resolve_layers(standin(net.half(), 32), ["auto"])
    assert (layer.path, layer.layout, layer.proof) == ("stage", MAPS, "proven")


def test_gradients_that_would_overflow_when_scaled_are_found_in_float16() -> None:
    net = Net()
    net.head.weight.data.mul_(2e3)
    [layer] = resolve_layers(standin(net.half(), 32), ["auto"])
    assert layer.path == "stage"


def test_a_compiled_module_is_measured_eagerly() -> None:
    compiled = torch.compile(Net(), backend="eager")
    [layer] = resolve_layers(standin(compiled, 32), ["stage"])
    assert (layer.path, layer.layout) == ("_orig_mod.stage", MAPS)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_input_channels(channels: int) -> None:
    model = standin(Net(channels=channels), 32, channels=channels)
    assert resolve_layers(model, ["auto"])[0].layout == MAPS


def test_one_logit() -> None:
    net = Net()
    net.head = nn.Linear(8, 1)
    assert resolve_layers(standin(net, 32), ["auto"])[0].path == "stage"


def test_probabilities_that_sum_to_one_still_have_a_gradient() -> None:
    net = Net()
    net.head = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1))
    assert resolve_layers(standin(net, 32), ["auto"])[0].path == "stage"


class Encoder(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


def test_an_encoder_has_layers_only_for_methods_without_gradients() -> None:
    model = standin(Encoder(), 32)
    with pytest.raises(ModelError, match="no logits"):
        resolve_layers(model, ["auto"])
    assert resolve_layers(model, ["auto"], needs_gradient=False)[0].path == "stage"


def test_frozen_parameters_and_hooks_of_the_user_stay() -> None:
    net = Net().requires_grad_(False)
    seen: list[str] = []
    net.stage.register_forward_hook(lambda *_: seen.append("stage"))
    net.stem.weight.grad = torch.ones_like(net.stem.weight)
    resolve_layers(standin(net, 32), ["auto"])
    assert seen
    assert len(net.stage._forward_hooks) == 1
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(net.stem.weight.grad, torch.ones_like(net.stem.weight))


def test_the_module_is_left_as_it_was_when_it_fails() -> None:
    class Failing(Net):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("inside the model")

    net = Failing().train()
    with pytest.raises(ModelError, match=r"test_modules.py, line \d+: raise RuntimeError.*") as refusal:
        resolve_layers(standin(net, 32), ["auto"])
    assert "RuntimeError: inside the model" in str(refusal.value)
    assert "--input-size" not in str(refusal.value)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_trap_activations_overwritten_in_place_after_the_layer() -> None:
    module = torchvision.models.DenseNet(growth_rate=4, block_config=(1, 1, 2, 2), num_init_features=8, num_classes=5)
    model = standin(module, 128)
    [layer] = resolve_layers(model, ["features[-1]"])  # a ReLU in place follows
    assert (layer.path, layer.layout) == ("features.norm5", Layout("nchw", (4, 4)))
    with measure_layers(model, LayoutFlag()) as measurements:
        [slope] = measurements.record.gradients(["features.norm5"])
        image = measurements.evidence.perturbation.images[:1]
        [by_hand] = _gradient_by_hand(model, image, measurements.record.score)
    assert slope is not None
    assert torch.allclose(slope, by_hand, rtol=1e-4, atol=1e-7)


def _gradient_by_hand(model: StandIn, image: Tensor, score: Tensor | None) -> tuple[Tensor, ...]:
    assert score is not None
    features = model.module.features(image).detach().requires_grad_()
    scores = model.module.classifier(features.relu().mean((2, 3)))
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(3))
    total = (scores * weights).sum()
    assert torch.allclose(total, score, rtol=1e-4)
    return torch.autograd.grad(total, [features])


def test_a_layer_that_never_runs_is_refused() -> None:
    net = Net()
    net.auxiliary = nn.Conv2d(8, 8, 1)
    with pytest.raises(LayerError, match=r"auxiliary: never runs.*A layer that works: stage"):
        resolve_layers(standin(net, 32), ["auxiliary"])


def test_a_layer_that_is_not_spatial_is_refused() -> None:
    with pytest.raises(LayerError, match=r"head: not spatial: no grid fits the shape \(N, 5\)\. A layer that works"):
        resolve_layers(standin(Net(), 32), ["head"])


def test_layout_that_does_not_fit_the_shape_is_refused() -> None:
    with pytest.raises(LayerError, match="does not allow what --layout says"):
        resolve_layers(standin(Net(), 32), ["stage"], "tokens:0:8x8")
