"""The pass of a run's batches as a CUDA graph, where all of it is decided before the first image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from camcli.capture import noise
from camcli.explainer import ExplainedBatch
from camcli.pipeline.targets import TargetSpec, choose_targets
from camcli.speed import CudaGraph, record

if TYPE_CHECKING:
    from camcli.pipeline.setup import Setup


@dataclass(frozen=True)
class RecordedPass:
    """Explains batches of one shape by a CUDA graph.

    Attributes:
        graph: from inputs to the tensors of ``like``.
        like: results of a batch.
    """

    graph: CudaGraph
    like: ExplainedBatch

    def explain(self, inputs: Tensor, own: Sequence[TargetSpec | None]) -> ExplainedBatch | None:
        """The results of a batch; None for one of another shape, or with targets of its images' own."""
        if any(own) or not self.graph.fits(inputs):
            return None
        return self.like.with_tensors(self.graph(inputs))


def with_recorded_pass(setup: Setup) -> Setup:
    """The same with its pass recorded, where the device is CUDA and the methods allow it; else a note says why not."""
    if (
        setup.device.type != "cuda"
        or not setup.explainer.can_be_recorded
        or any(s.kind == "label" for s in setup.targets)
    ):
        return setup
    count, nobody = setup.batch_size, [None] * setup.batch_size
    results: list[ExplainedBatch] = []

    def run(inputs: Tensor) -> list[Tensor]:
        choose = lambda logits: choose_targets(logits, setup.targets, nobody, nobody)  # noqa: E731
        results[:] = [setup.explainer(inputs, choose, seeds)]
        return results[0].tensors()

    example = setup.tuning.arrange(noise(setup.model.preprocessing, count, setup.device))
    seeds = list(range(count))
    graph, reason = record(run, [example, example.flip(0)])
    if graph is None:
        note = f"the passes are not recorded as a CUDA graph ({reason}); they run as they are written, slower"
        return replace(setup, tuning=replace(setup.tuning, notes=(*setup.tuning.notes, note)))
    return replace(setup, recorded=RecordedPass(graph, results[0]))
