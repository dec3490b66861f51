"""The pass of a run's batches as a CUDA graph, where all of it is decided before the first image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camcli.explainer import ExplainedBatch
from camcli.pipeline.targets import TargetSpec
from camcli.speed import CudaGraph


@dataclass
class RecordedPass:
    """Explains batches of one shape by a CUDA graph.

    Attributes:
        graph: from inputs to the tensors of ``like``; None once its memory is needed for other things.
        like: results of a batch, without values.
    """

    graph: CudaGraph | None
    like: ExplainedBatch

    def explain(self, inputs: Tensor, own: Sequence[TargetSpec | None]) -> ExplainedBatch | None:
        """The results of a batch; None for one of another shape, or with targets of its images' own."""
        if self.graph is None or any(own) or not self.graph.fits(inputs):
            return None
        return self.like.with_tensors(self.graph(inputs))

    def release(self) -> None:
        """Give back the memory of the graph, which is that of a whole batch; from now on no batch is explained."""
        self.graph = None
