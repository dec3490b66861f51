"""The scalar that is explained, and what a probability is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from camcli.config.settings import SETTINGS


@dataclass(frozen=True)
class Score:
    """From logits to S.

    Attributes:
        kind: ``logit`` z_c, ``prob`` p_c, ``neg-logit`` −z_c (evidence against the class).
        sigmoid: p is a sigmoid of each logit rather than a softmax over them.
    """

    kind: str = "logit"
    sigmoid: bool = False

    def __post_init__(self) -> None:
        SETTINGS["score"].check(self.kind)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """S of each row.

        Args:
            logits: (M, classes).
            targets: (M,) or (M, T) int64.

        Returns:
            As targets, float32.
        """
        values = probabilities(logits, self.sigmoid) if self.kind == "prob" else logits
        picked = values.gather(1, targets.reshape(len(targets), -1)).reshape(targets.shape)
        return -picked if self.kind == "neg-logit" else picked


def probabilities(logits: Tensor, sigmoid: bool) -> Tensor:
    """(N, classes) in [0, 1] from logits (N, classes)."""
    return torch.sigmoid(logits) if sigmoid else torch.softmax(logits, dim=1)
