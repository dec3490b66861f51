"""A class probability over the share of pixels that were changed, and the area under it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camcli.metrics.order import shares
from camcli.metrics.scoring import BATCH, Scorer, score_all, score_mixtures

STEPS = 32
"""Intervals of a curve unless the caller says otherwise; its ends make it one point longer."""


@dataclass(frozen=True)
class Curve:
    """Probabilities at equally spaced shares of changed pixels.

    Attributes:
        scores: (N, steps + 1) float32, from none to all pixels changed.
    """

    scores: Tensor

    @property
    def area(self) -> Tensor:
        """(N,) float32 in [0, 1]: the area under each curve over [0, 1], by the trapezoid rule."""
        inner = self.scores[:, 1:-1].sum(1)
        return (inner + (self.scores[:, 0] + self.scores[:, -1]) / 2) / (self.scores.shape[1] - 1)


def replacement_curve(
    before: Tensor,
    after: Tensor,
    ranks: Tensor,
    classes: Tensor,
    scorer: Scorer,
    *,
    steps: int = STEPS,
    ends: tuple[Tensor, Tensor] | None = None,
    batch: int = BATCH,
) -> Curve:
    """Replace the pixels of ``before`` by those of ``after`` in the order of ``ranks``, in ``steps`` equal parts.

    Args:
        before, after: (N, C, H, W).
        ranks: (N, H, W), see :func:`camcli.metrics.order.pixel_ranks`.
        classes: (N,).
        ends: (N,) probabilities of ``before`` and of ``after`` where they are known already: maps of the same images
            share them.
    """
    pixels = ranks.shape[1] * ranks.shape[2]
    counts = shares(pixels, [k / steps for k in range(1, steps)])
    first, last = ends or (score_all(before, classes, scorer, batch), score_all(after, classes, scorer, batch))
    inner = score_mixtures(before, after, ranks, counts, classes, scorer, batch)
    return Curve(torch.cat([first[:, None].float(), inner, last[:, None].float()], dim=1))
