"""The scalar that is explained, and what a probability is."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from camcli.config.settings import SETTINGS

Link = Literal["softmax", "sigmoid", "exp", "none"]
"""From scores to probabilities: the softmax over classes, the sigmoid of each, its exponential (the scores are
logarithms of probabilities already), or none (the outputs are values, and stand in the place of probabilities)."""


@dataclass(frozen=True)
class Score:
    """From logits to S.

    Attributes:
        kind: ``logit`` z_c, ``prob`` p_c, ``neg-logit`` −z_c (evidence against the class).
        link: from z to p.
    """

    kind: str = "logit"
    link: Link = "softmax"

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
        values = probabilities(logits, self.link) if self.kind == "prob" else logits
        picked = values.gather(1, targets.reshape(len(targets), -1)).reshape(targets.shape)
        return -picked if self.kind == "neg-logit" else picked


def probabilities(logits: Tensor, link: Link) -> Tensor:
    """(N, classes) in [0, 1] from logits (N, classes); the logits themselves where they are values."""
    if link == "sigmoid":
        return torch.sigmoid(logits)
    if link == "exp":
        return torch.exp(logits)
    return torch.softmax(logits, dim=1) if link == "softmax" else logits
