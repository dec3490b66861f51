"""The states that a run sets around the user's code: maps are those of the plain network, and all is restored."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import checkpoint as torch_checkpoint

import camcli
from camcli.capture.frozen import evaluation_mode
from camcli.capture.states import without_checkpointing
from camcli.device import deterministic, number_format
from tests import unusual

IMAGE = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)


def explain(name: str, method: str = "gradcam,eigencam", **settings: Any) -> dict[str, np.ndarray]:
    model = camcli.load_model(f"factory:tests.{name}", input_size=(64, 64))
    [result] = camcli.explain(model, IMAGE, method=method, target=1, batch_size=2, **settings)
    return {key: one.native for key, one in result.maps.items()}


@pytest.fixture(scope="module")
def plain() -> dict[str, np.ndarray]:
    return explain("unusual:Plain", layer="features")


def test_a_network_that_changes_its_input_gets_a_copy_in_every_pass() -> None:
    methods = "fullgrad,guidedbackprop,scorecam,layercam"
    plain, changes = (explain(f"unusual:{name}", methods, layer="features") for name in ("Plain", "ChangesInput"))
    for key, own in plain.items():
        np.testing.assert_allclose(changes[key], own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "name",
    [
        "unusual:NoGradDecorator", "unusual:SwitchesOff", "unusual:Reentrant", "unusual:NonReentrant",
        "unusual:InferencePrefix", "unusual:made_in_inference_mode", "unusual_without_gradients:build",
        "unusual:ChangesInput",
    ],
)  # fmt: skip
def test_maps_are_those_of_the_plain_network(plain: dict[str, np.ndarray], name: str) -> None:
    sys.modules.pop("tests.unusual_without_gradients", None)
    maps = explain(name, layer="features")
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert np.abs(plain["gradcam"]).max() > 0
    for key, own in plain.items():
        np.testing.assert_allclose(maps[key], own, rtol=1e-5, atol=1e-7)


def test_the_callers_own_state_is_kept_and_does_not_matter(plain: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        maps = explain("unusual:Plain", layer="features")
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        inside = explain("unusual:Plain", layer="features")
        assert torch.is_inference_mode_enabled()
    for key, own in plain.items():
        np.testing.assert_array_equal(maps[key], own)
        np.testing.assert_array_equal(inside[key], own)


def test_each_thread_gets_the_state() -> None:
    net = unusual.Plain()

    def gradient() -> float:
        torch.set_grad_enabled(False)
        with evaluation_mode(net):
            leaf = torch.ones(1, 3, 64, 64).requires_grad_()
            net(leaf).sum().backward()
        assert not torch.is_grad_enabled()
        assert leaf.grad is not None
        return float(leaf.grad.abs().sum())

    with ThreadPoolExecutor(1) as other:
        assert other.submit(gradient).result() > 0


def test_checkpointing_calls_the_function_once_and_is_restored() -> None:
    calls = []

    def double(x: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        return x * 2

    before = torch_checkpoint.CheckpointFunction
    x = torch.ones(2, requires_grad=True)
    for reentrant in (True, False):
        with without_checkpointing(), without_checkpointing():
            y = unusual.checkpoint(double, x, use_reentrant=reentrant)
        (gradient,) = torch.autograd.grad(y.sum(), x)  # which the reentrant kind refuses
        assert gradient.tolist() == [2, 2]
    assert len(calls) == 2
    assert torch_checkpoint.CheckpointFunction is before
    with pytest.raises(RuntimeError, match="checkpoint"):
        torch.autograd.grad(unusual.checkpoint(double, x, use_reentrant=True).sum(), x)


def test_checkpointing_of_timm(plain: dict[str, np.ndarray]) -> None:
    import timm

    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=4).eval()
    inputs = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad(net(x := inputs.clone().requires_grad_())[:, 0].sum(), x)[0]
    net.set_grad_checkpointing(True)
    with evaluation_mode(net):
        runs: list[int] = []
        net.blocks[0].register_forward_hook(lambda *_: runs.append(1))
        gradient = torch.autograd.grad(net(x := inputs.clone().requires_grad_())[:, 0].sum(), x)[0]
    assert len(runs) == 1  # not once more in the backward pass
    torch.testing.assert_close(gradient, expected)


def test_parameters_made_in_inference_mode_are_restored_and_stay_shared() -> None:
    with torch.inference_mode():
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        net[1].weight = net[0].weight
    own = net[0].weight
    with evaluation_mode(net):
        assert not net[0].weight.is_inference()
        assert net[0].weight is net[1].weight
    assert net[0].weight is own is net[1].weight


def test_recurrent_networks_run_outside_cudnn_and_without_dropout() -> None:
    net = unusual.Recurrent()
    seen: list[tuple[bool, bool]] = []
    own = net.rnn.forward

    def forward(*args: Any) -> Any:
        seen.append((torch.backends.cudnn.enabled, net.rnn.training))
        return own(*args)

    net.rnn.forward = forward  # type: ignore[method-assign]
    before = torch.backends.cudnn.enabled
    with evaluation_mode(net), torch.no_grad():
        one, two = net(torch.ones(1, 3, 64, 64)), net(torch.ones(1, 3, 64, 64))
    assert seen == [(False, False)] * 2
    assert torch.equal(one, two)
    assert torch.backends.cudnn.enabled is before


def test_cudnn_is_restored_where_a_recurrent_network_fails() -> None:
    net, before = unusual.Recurrent(), torch.backends.cudnn.enabled
    with evaluation_mode(net), pytest.raises(RuntimeError):
        net.rnn(torch.ones(1, 2, 3))
    assert torch.backends.cudnn.enabled is before


def test_a_recurrent_network_leaves_the_arithmetic_and_the_kernels() -> None:
    net, seen = unusual.Recurrent().eval(), []
    cudnn = torch.backends.cudnn

    def see(*_: object) -> None:
        seen.append((cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))

    net.rnn.register_forward_hook(see)
    with number_format("fp32"), deterministic(torch.device("cuda")):
        before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
        assert before == (False, True, False)
        with evaluation_mode(net), torch.no_grad():
            net(torch.ones(1, 3, 64, 64))
        see()
    assert set(seen) == {before}
