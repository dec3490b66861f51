"""What the map of each method costs: passes of the model, and time measured while an evaluation runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from torch import Tensor

from camcli.evaluation.entries import MapMaker, MethodEntry
from camcli.methods.cost import MANY_PASSES
from camcli.pipeline.passes import passes_of_method
from camcli.pipeline.setup import Setup

_BATCHES = 3
"""Batches whose maps are made once more, by one method alone, to measure its time."""


@dataclass(frozen=True)
class Cost:
    """What one map of one image costs.

    Attributes:
        text: as the list of methods says it; None for baselines, which make no pass.
        passes: of the model, forward and backward, about.
        milliseconds: wall time on this machine, in batches as those of the run; None for baselines.
    """

    text: str | None = None
    passes: int = 0
    milliseconds: float | None = None


class CostMeter:
    """Measures the time of each method by itself: in a run several share their passes.

    Args:
        setup: of the run.
        maker: makes the maps.
    """

    def __init__(self, setup: Setup, maker: MapMaker) -> None:
        self.setup, self.maker = setup, maker
        self._seconds: dict[MethodEntry, list[float]] = {}

    def measure(self, entry: MethodEntry, inputs: Tensor, classes: Tensor, seeds: Sequence[int]) -> None:
        """Make the maps of a batch by the method of an entry alone; of the first batches only.

        The first time of a method counts its preparation, so that it is made twice. A slow method makes the map of one
        image, once.
        """
        times = self._seconds.setdefault(entry, [])
        is_slow = self.cost(entry).passes >= MANY_PASSES
        if entry.baseline or len(times) == (1 if is_slow else _BATCHES):
            return
        if is_slow:
            inputs, classes, seeds = inputs[:1], classes[:1], seeds[:1]
        elif not times:
            self.maker.native_of(entry, inputs, classes, seeds)
        start = time.perf_counter()
        self.maker.native_of(entry, inputs, classes, seeds)  # copied to the CPU: the device has finished
        times.append((time.perf_counter() - start) / len(inputs))

    def cost(self, entry: MethodEntry) -> Cost:
        """The cost of an entry by what was measured so far."""
        if entry.baseline:
            return Cost()
        method, settings = next(pair for pair in self.setup.explainer.methods() if pair[0].key == entry.method)
        layers = [layer for layer in self.setup.layers if entry.layer in (layer.path, None)][:1] or self.setup.layers
        times = self._seconds.get(entry)
        return Cost(
            method.cost_with(settings),
            passes_of_method(self.setup, method, settings, layers),
            1000 * median(times) if times else None,
        )
