"""Class probabilities of altered inputs, as metrics want them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camcli.capture import Forward
from camcli.models import Model
from camcli.models.outputs import Probability


@dataclass(frozen=True)
class ClassScorer:
    """p_c of a batch, without gradients; a batch that does not fit into the device's memory goes in halves.

    Attributes:
        model: prepared.
        probability: what a probability is.
        precision: ``fp32`` unless another was asked for: metrics live on small differences.
    """

    model: Model
    probability: Probability = "auto"
    precision: str = "fp32"

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """(M,) float32 from inputs (M, C, H, W) and classes (M,)."""
        with torch.inference_mode():
            return self._scores(inputs.contiguous(memory_format=torch.channels_last), classes)

    def _scores(self, inputs: Tensor, classes: Tensor) -> Tensor:
        try:
            logits = Forward(self.model.module, self.model.logits, self.precision)(inputs)
        except torch.cuda.OutOfMemoryError:
            if len(inputs) == 1:
                raise
            torch.cuda.empty_cache()
            half = len(inputs) // 2
            return torch.cat([self._scores(inputs[:half], classes[:half]), self._scores(inputs[half:], classes[half:])])
        return self.model.probabilities(logits, self.probability).gather(1, classes[:, None])[:, 0]
