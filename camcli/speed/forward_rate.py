"""How fast the forward pass of a model is by itself, in one setting or another."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture.half_precision import cast_weights
from camcli.capture.noise import noise
from camcli.device import HALF, number_format, synchronize
from camcli.speed.tuning import TunedModel, tune


def measure_forward_rate(
    model: TunedModel, batch_size: int, precision: str = "fp32", *, setting: str = "folded", seconds: float = 2.0
) -> float:
    """Images per second of the bare forward pass: the median over at least three passes after one to warm up.

    Args:
        model: inside :meth:`camcli.models.Model.prepared`.
        batch_size: images a pass.
        precision: ``fp32``, ``tf32``, or ``bf16`` or ``fp16`` autocast.
        setting: ``plain``, ``channels-last``, ``folded`` (and channels-last) or ``compiled`` (and both).
        seconds: about how long to measure.
    """
    with (
        _in_setting(model, setting, precision) as (module, arrange),
        torch.no_grad(),
        _autocast(model.device, precision),
    ):
        inputs = arrange(noise(model.preprocessing, batch_size, model.device))
        _seconds(module, inputs)
        durations: list[float] = []
        while len(durations) < 3 or sum(durations) < seconds:
            durations.append(_seconds(module, inputs))
    return batch_size / median(durations)


@contextmanager
def _in_setting(
    model: TunedModel, setting: str, precision: str
) -> Iterator[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    if setting == "plain":
        yield model.module, Tensor.contiguous
        return
    with tune(model, folding=setting != "channels-last") as tuning, ExitStack() as stack:
        if setting != "compiled":
            weights = cast_weights(model.module, HALF[precision], ()) if precision in HALF else None
            if weights is not None:  # as a run has them
                stack.enter_context(weights.applied())
            yield model.module, tuning.arrange
            return
        import torch._inductor.config as inductor

        with inductor.patch(freezing=True):
            yield torch.compile(model.module), tuning.arrange  # type: ignore[misc]


def _autocast(device: torch.device, precision: str) -> Any:
    return torch.autocast(device.type, HALF[precision]) if precision in HALF else number_format(precision)


def _seconds(module: nn.Module, inputs: Tensor) -> float:
    start = time.perf_counter()
    module(inputs)
    synchronize(inputs.device)
    return time.perf_counter() - start
