"""The pass of a run's batches as a CUDA graph, where all of it is decided before the first image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camcli.explainer import ExplainedBatch
from camcli.pipeline.targets import TargetSpec
from camcli.speed import CudaGraph


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
