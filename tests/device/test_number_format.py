"""In which arithmetic a model runs, whatever the user's code has set before, and that it is left so afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camcli
from camcli.device import choose_precision, deterministic, nondeterministic_operations, number_format
from camcli.device.number_format import WORKSPACE
from camcli.errors import DeviceError
from camcli.explainer import Explainer, ExplainOptions
from tests.explainer.two_layers import LAYERS, top
from tests.methods.networks import StandIn, noise, random_net

BACKENDS: Any = torch.backends
NEWER = hasattr(BACKENDS.cudnn, "conv")  # from torch 2.9 on

State = dict[str, Any]


def read() -> State:
    """All switches as they can be read; the older ones raise where the newer ones disagree."""
    older: dict[str, Callable[[], Any]] = {
        "matmul": lambda: BACKENDS.cuda.matmul.allow_tf32, "cudnn": lambda: BACKENDS.cudnn.allow_tf32,
        "products": torch.get_float32_matmul_precision,
    }  # fmt: skip
    state: State = {}
    for name, value in older.items():
        try:
            state[name] = value()
        except RuntimeError:
            state[name] = "raises"
    if NEWER:
        parts = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul)
        state |= {f"newer {i}": part.fp32_precision for i, part in enumerate(parts)}
    return state


def uses_tf32() -> bool:
    """Whether any product of float32 would be rounded now."""
    if not NEWER:
        return bool(BACKENDS.cuda.matmul.allow_tf32 or BACKENDS.cudnn.allow_tf32)
    parts = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul)
    everywhere = BACKENDS.fp32_precision in ("tf32", "bf16")
    return any(p.fp32_precision in ("tf32", "bf16") or (everywhere and p.fp32_precision == "none") for p in parts)


def of_users() -> dict[str, Callable[[], None]]:
    """What a user's code may have set."""
    found: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "the older switches": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
        "the speed of products": lambda: torch.set_float32_matmul_precision("medium"),
    }
    if NEWER:
        found["newer switches"] = lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee")
        found["the newer switch of all"] = lambda: setattr(BACKENDS, "fp32_precision", "tf32")
    return found


@pytest.fixture
def switches() -> Iterator[None]:
    """Afterwards the switches are as torch has them at the start."""
    yield
    if NEWER:
        BACKENDS.fp32_precision = "none"
        for part in (BACKENDS.cuda.matmul, BACKENDS.mkldnn.matmul):
            part.fp32_precision = "none"
        BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cudnn.rnn.fp32_precision = "tf32"
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    assert read()["cudnn"] is True
    assert read()["matmul"] is False


@pytest.mark.parametrize("own", of_users().values(), ids=of_users())
def test_float32_is_ieee_inside_and_as_before_afterwards(own: Callable[[], None], switches: None) -> None:
    own()
    before = read()
    for precision in ("fp32", "bf16", "fp16"):
        with number_format(precision):
            assert not uses_tf32()
        assert read() == before
    with number_format("fp32"), number_format("tf32"):
        assert BACKENDS.cudnn.conv.fp32_precision == "tf32" if NEWER else BACKENDS.cudnn.allow_tf32
        with number_format("fp32"):
            assert not uses_tf32()
    assert read() == before


class Watching(nn.Module):
    """A network that notes in which arithmetic it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = random_net()
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(uses_tf32())
        result: Tensor = self.net(x)
        return result


def test_a_users_module_is_explained_in_ieee_arithmetic(switches: None) -> None:
    torch.set_float32_matmul_precision("high")
    module = Watching()
    image = torch.rand(3, 16, 16).mul(255).to(torch.uint8).permute(1, 2, 0).numpy()
    camcli.explain(module, [image], layer="net.after", input_size=16, method=["gradcam", "scorecam"])
    assert module.seen
    assert not any(module.seen)
    assert uses_tf32()  # as the user has it


def test_tf32_is_what_the_passes_run_in_where_it_was_asked_for() -> None:
    module = Watching()
    layer = [type(LAYERS[0])("net.after", LAYERS[0].layout)]
    for precision in ("tf32", "fp32"):
        options = ExplainOptions(precision=precision, precision_given=True)
        explainer = Explainer(StandIn(module), layer, ["gradcam", "scorecam"], options)
        module.seen.clear()
        explainer(noise(1), top, [0])
        assert set(module.seen) == {precision == "tf32"}


def test_a_device_without_tf32_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"cpu has no TensorFloat-32.*Take fp32"):
        choose_precision("tf32", torch.device("cpu"))


def test_cuda_computes_with_deterministic_kernels_and_names_those_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE[0], raising=False)
    monkeypatch.setattr(BACKENDS.cudnn, "benchmark", True)
    with deterministic(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with deterministic(torch.device("cuda:0")):
            assert torch.are_deterministic_algorithms_enabled()
            assert BACKENDS.cudnn.deterministic
            assert not BACKENDS.cudnn.benchmark
            with nondeterministic_operations() as names:
                for name in ("a_backward_cuda", "b_cuda", "a_backward_cuda"):
                    warnings.warn(f"{name} does not have a deterministic implementation, but you set", stacklevel=1)
            warnings.warn("c_cuda does not have a deterministic implementation, but you set", stacklevel=1)
    assert names == ["a_backward_cuda", "b_cuda"]
    assert not torch.are_deterministic_algorithms_enabled()
    assert BACKENDS.cudnn.benchmark
    assert not BACKENDS.cudnn.deterministic


def test_what_else_is_warned_of_is_passed_on() -> None:
    with pytest.warns(UserWarning, match="something else"), nondeterministic_operations() as names:
        warnings.warn("something else", stacklevel=1)
    assert names == []
