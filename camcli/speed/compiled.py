"""``--compile``: the part of a model before its target layer compiled and frozen by itself.

The graph of that part is exported, compiled with its weights frozen in, tried on noise against the model as it is,
and timed. Where any of this does not work out, the run goes on without it and says why: a long run is worth the wait,
a model that cannot be compiled is not worth losing the run.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from camcli.capture import Forward, capture, learn_tail
from camcli.capture.prefix import Trunk, graph_of
from camcli.speed.tuned import ROUNDING, distance, is_plain

_TRIED = 5  # passes that are timed of each
_FURTHER = 2.0  # times as far from float32 as the model itself in its precision: the order of rounding, not an error


@dataclass(frozen=True)
class Compilation:
    """What came of it.

    Attributes:
        forward: the way to run the model from now on; the one given where compiling did not work out.
        note: for the user: what it took and what it brings, or why the run goes on without.
    """

    forward: Forward
    note: str

    @property
    def works(self) -> bool:
        return self.forward.ahead is not None


def compile_trunk(forward: Forward, layer: str, inputs: Tensor) -> Compilation:
    """Compile what comes before a layer.

    Args:
        forward: runs the module, which is in evaluation mode and without parameter gradients.
        layer: canonical path of the target layer that returns first.
        inputs: noise in the shape and memory of the run's batches, (N, C, H, W).
    """

    def without(reason: str) -> Compilation:
        return Compilation(forward, f"--compile: {reason}; the run goes on without")

    if not is_plain(forward.module):
        return without("the model is compiled, scripted or spread over devices already")
    few = inputs[:1].expand(3, *inputs.shape[1:])
    tail = learn_tail(replace(forward, precision="fp32"), layer, few + 0.1 * torch.randn_like(few))
    if tail.why_not is not None:
        return without(f"what comes before {layer} cannot be split off ({tail.why_not})")
    start = time.perf_counter()
    try:
        compiled = replace(forward, ahead=Trunk(tail, inputs, _compiled(graph_of(forward, tail, inputs))))
        with _quiet():
            found = _results(compiled, layer, inputs)
    except Exception as error:  # no compiler, an operation it does not know: its errors have no common type
        reason = next(iter(str(error).strip().splitlines()), "")
        return without(f"what comes before {layer} does not compile here ({type(error).__name__}: {reason[:200]})")
    seconds = time.perf_counter() - start
    wrong = _deviation(forward, found, layer, inputs)
    if wrong is not None:
        return without(f"compiled, the model does not say the same ({wrong})")
    return Compilation(compiled, f"--compile: {_worth(seconds, forward, compiled, layer, inputs)}")


def _worth(seconds: float, forward: Forward, compiled: Forward, layer: str, inputs: Tensor) -> str:
    """What it took and what it brings. It is only told: what is measured now must not decide what is computed."""
    before, after = _seconds(forward, layer, inputs), _seconds(compiled, layer, inputs)
    took = f"what comes before {layer} was compiled in {seconds:.0f} s"
    if after >= before:
        return f"{took} and is not faster here; leave --compile out"
    pays = math.ceil(seconds / (before - after) * len(inputs) / 100) * 100
    return f"{took}; a batch takes {100 * after / before:.0f} % of the time now, worth it from {pays:,} images on"


def _compiled(graph: torch.nn.Module) -> Callable[[Tensor], list[Tensor]]:
    import torch._inductor.config as inductor

    ready = torch.compile(graph, dynamic=False)

    def run(inputs: Tensor) -> list[Tensor]:
        with inductor.patch(freezing=True):  # looked at when the first call compiles
            return list(ready(inputs))

    return run


def _deviation(forward: Forward, found: tuple[Tensor, Tensor], layer: str, inputs: Tensor) -> str | None:
    """How what the compiled model says differs from what the model says, where that is more than rounding.

    In half precision a compiler rounds less often: both are held against float32.
    """
    exact = _results(replace(forward, precision="fp32"), layer, inputs)
    own = _results(forward, layer, inputs)
    for name, best, before, now in zip((f"at {layer}", "in its logits"), exact, own, found, strict=True):
        allowed = max(ROUNDING[torch.float32], _FURTHER * distance(best, before))
        moved = distance(best, now)
        if not moved <= allowed:
            return f"{name} it is off by {moved:.1g} of the largest value"
    return None


def _results(forward: Forward, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The activation at the layer and the logits, float32."""
    captured = capture(forward, inputs, [layer], gradients=False)
    return captured.activations[layer].float(), captured.logits.detach()


def _seconds(forward: Forward, layer: str, inputs: Tensor) -> float:
    taken = []
    for _ in range(_TRIED):
        start = time.perf_counter()
        capture(forward, inputs, [layer], gradients=False)
        if inputs.is_cuda:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


@contextmanager
def _quiet() -> Iterator[None]:
    """The compiler's warnings are about its own workings."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
