"""What is left of the class when the input is dimmed by the map: drop, increase and gain.

With Y = p_c(x) and O = p_c(x ⊙ L), both probabilities of the explained class. The functions give one value an image;
the reported figures are 100 times their mean. They say little of faithfulness by themselves: a map that keeps nearly
all of the image scores best, which the baseline Fake-CAM shows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camcli.metrics.scoring import BATCH, Scorer

EDGE = 1e-6
"""Images whose Y is below leave the drop, whose Y is above 1 − this leave the gain: the quotient means nothing."""


def masked_scores(inputs: Tensor, maps: Tensor, classes: Tensor, scorer: Scorer, batch: int = BATCH) -> Tensor:
    """O = p_c(x ⊙ L), (N,) float32.

    Args:
        inputs: x, (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,).
    """
    found = []
    for x, heat, some in zip(*(torch.split(t, batch) for t in (inputs, maps, classes)), strict=True):
        found.append(scorer(x * heat[:, None], some).float())
    return torch.cat(found)


def average_drop(y: Tensor, o: Tensor) -> Tensor:
    """relu(Y − O) / Y in [0, 1], lower is better; NaN where Y < 1e-6 (Chattopadhyay 2018, arXiv:1710.11063)."""
    return torch.where(y < EDGE, torch.nan, torch.relu(y - o) / y.clamp(min=EDGE))


def average_increase(y: Tensor, o: Tensor) -> Tensor:
    """1 where O > Y, else 0; higher is better (Chattopadhyay 2018, arXiv:1710.11063)."""
    return (o > y).float()


def average_gain(y: Tensor, o: Tensor) -> Tensor:
    """relu(O − Y) / (1 − Y) in [0, 1], higher is better; NaN where Y > 1 − 1e-6 (Zhang 2023, arXiv:2301.07002)."""
    return torch.where(y > 1 - EDGE, torch.nan, torch.relu(o - y) / (1 - y).clamp(min=EDGE))
