"""Class probabilities of altered inputs, for metrics."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from camcli.capture import Forward, noise
from camcli.device import BatchLimit, number_format
from camcli.models import Model
from camcli.models.outputs import Probability

_ANY = 1 << 30  # inputs at once, until memory runs out


@dataclass(frozen=True)
class ClassScorer:
    """p_c of a batch, without gradients; a batch that does not fit into the device's memory goes in halves.

    Attributes:
        model: prepared.
        probability: what a probability is.
        precision: ``fp32`` unless another was chosen: metrics depend on small differences.
    """

    model: Model
    probability: Probability = "auto"
    precision: str = "fp32"
    _limit: BatchLimit = field(default_factory=lambda: BatchLimit(_ANY), repr=False)

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """(M,) float32 from inputs (M, C, H, W) and classes (M,)."""
        with torch.inference_mode(), number_format(self.precision):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            most = 1 if self.model.is_alone else len(inputs)
            scores = self._limit.run(len(inputs), lambda part: self._scores(inputs[part], classes[part]), most)
            return torch.cat(list(scores))

    @cached_property
    def _forward(self) -> Forward:
        forward = Forward(self.model.module, self.model.logits, self.precision)
        return forward.with_classifier(noise(self.model.preprocessing, 1, self.model.device))

    def _scores(self, inputs: Tensor, classes: Tensor) -> Tensor:
        logits = self._forward(inputs)
        return self.model.probabilities(logits, self.probability).gather(1, classes[:, None])[:, 0]
