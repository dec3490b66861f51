"""``--compile``: the prefix of a network, the part before its target layer, compiled by itself with frozen weights.

The graph of the prefix is exported, compiled with its weights as constants, compared on noise with the model as it is,
and timed. Where one of these steps fails, the run goes on without it and states the reason: compiling is only a gain
in speed, and no reason to lose the run.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from camcli.capture import Forward, capture, trace_tail
from camcli.capture.prefix import CompiledPrefix, export_prefix
from camcli.device import free_cached_memory, number_format, synchronize
from camcli.errors import is_out_of_memory
from camcli.speed.tuning import ROUNDING, distance, is_plain

_TIMED = 5  # passes that are timed of each
_FURTHER = 2.0  # times as far from float32 as the model itself in its precision: the order of rounding, not an error


@dataclass(frozen=True)
class Compilation:
    """The result of compiling.

    Attributes:
        forward: the way to run the model from now on; the same as before where compiling failed.
        note: for the user: what it costs and gains, or why the run goes on without.
    """

    forward: Forward
    note: str

    @property
    def works(self) -> bool:
        """Whether a compiled prefix is used."""
        return self.forward.prefix is not None


def compile_prefix(forward: Forward, layer: str, inputs: Tensor) -> Compilation:
    """Compile what comes before a layer.

    Args:
        forward: runs the module, which is in evaluation mode and without parameter gradients.
        layer: canonical path of the target layer that returns first.
        inputs: noise in the shape and memory format of the run's batches, (N, C, H, W).
    """

    def without(reason: str) -> Compilation:
        return Compilation(forward, f"--compile: {reason}; the run goes on without")

    try:
        return _compile_prefix(forward, layer, inputs, without)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    free_cached_memory()
    return without(f"memory ran out on compiling what comes before {layer}")


def _compile_prefix(forward: Forward, layer: str, inputs: Tensor, without: Callable[[str], Compilation]) -> Compilation:
    if not is_plain(forward.module):
        return without("the model is compiled, scripted or spread over devices already")
    few = inputs[:1].expand(3, *inputs.shape[1:])
    tail = trace_tail(replace(forward, precision="fp32"), layer, few + 0.1 * torch.randn_like(few))
    if tail.fallback is not None:
        return without(f"what comes before {layer} cannot be split off ({tail.fallback})")
    start = time.perf_counter()
    try:
        compiled = replace(forward, prefix=CompiledPrefix(tail, inputs, _compile(export_prefix(forward, tail, inputs))))
        with _quiet(), number_format(forward.precision):
            results = _results(compiled, layer, inputs)
    except Exception as error:  # no compiler, an operation it does not support: its errors have no common type
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), "")
        return without(f"what comes before {layer} does not compile here ({type(error).__name__}: {reason[:200]})")
    seconds = time.perf_counter() - start
    difference = _compare(forward, results, layer, inputs)
    if difference is not None:
        return without(f"compiled, the model gives other outputs ({difference})")
    return Compilation(compiled, f"--compile: {_describe_gain(seconds, forward, compiled, layer, inputs)}")


def _describe_gain(seconds: float, forward: Forward, compiled: Forward, layer: str, inputs: Tensor) -> str:
    """What compiling costs and gains. It is only reported: a measured time must not decide what is computed."""
    with number_format(forward.precision):
        before, after = _seconds(forward, layer, inputs), _seconds(compiled, layer, inputs)
    took = f"what comes before {layer} was compiled in {seconds:.0f} s"
    if after >= before:
        return f"{took} and is not faster here; leave --compile out"
    break_even = math.ceil(seconds / (before - after) * len(inputs) / 100) * 100
    return f"{took}; a batch takes {100 * after / before:.0f} % of the time now, worth it from {break_even:,} images on"


def _compile(graph: torch.nn.Module) -> Callable[[Tensor], list[Tensor]]:
    import torch._inductor.config as inductor

    compiled = torch.compile(graph, dynamic=False)

    def run(inputs: Tensor) -> list[Tensor]:
        with inductor.patch(freezing=True):  # read when the first call compiles
            return list(compiled(inputs))

    return run


def _compare(forward: Forward, results: tuple[Tensor, Tensor], layer: str, inputs: Tensor) -> str | None:
    """How the outputs of the compiled model differ from the model's, where that is more than rounding.

    In half precision a compiler rounds less often, so that it may be nearer to the exact result than the model itself:
    both are compared with float32.
    """
    with number_format("fp32"):
        exact = _results(replace(forward, precision="fp32"), layer, inputs)
    with number_format(forward.precision):
        own = _results(forward, layer, inputs)
    for name, best, before, now in zip((f"at {layer}", "in its logits"), exact, own, results, strict=True):
        allowed = max(ROUNDING[torch.float32], _FURTHER * distance(best, before))
        deviation = distance(best, now)
        if not deviation <= allowed:  # a deviation that is NaN as well
            return f"{name} it is off by {deviation:.1g} of the largest value"
    return None


def _results(forward: Forward, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The activation at the layer and the logits, float32."""
    captured = capture(forward, inputs, [layer], gradients=False)
    return captured.activations[layer].float(), captured.logits.detach()


def _seconds(forward: Forward, layer: str, inputs: Tensor) -> float:
    durations = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        capture(forward, inputs, [layer], gradients=False)
        synchronize(inputs.device)
        durations.append(time.perf_counter() - start)
    return median(durations[1:])


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the compiler inside: they are about its own internals."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
