"""A class probability over the share of pixels that were changed, and the area under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import torch
from torch import Tensor

from camcli.metrics.order import pixel_ranks
from camcli.metrics.scoring import BATCH, Scorer, score_all, score_changed

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


class CurveOptions(TypedDict, total=False):
    """The keyword arguments of :func:`replacement_curve`, for the metrics that hand them on."""

    steps: int
    ends: tuple[Tensor, Tensor] | None
    batch: int


def replacement_curve(
    before: Tensor,
    after: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    ends: tuple[Tensor, Tensor] | None = None,
    batch: int = BATCH,
) -> Curve:
    """Replace the pixels of ``before`` by those of ``after`` in the order of the maps, in ``steps`` equal parts.

    Args:
        before, after: (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1]; their highest pixels are replaced first.
        classes: (N,) int64, the class that each map explains.
        scorer: gives class probabilities.
        seeds: N, for the order of equal values of L.
        steps: parts in which the pixels are replaced.
        ends: (N,) probabilities of ``before`` and of ``after`` where they are computed already: maps of the same
            images share them.
        batch: inputs scored at once.
    """

    def mix(i: Tensor, is_replaced: Tensor) -> Tensor:
        return torch.where(is_replaced[:, None], after[i], before[i])

    first, last = ends or (score_all(before, classes, scorer, batch), score_all(after, classes, scorer, batch))
    fractions = [k / steps for k in range(1, steps)]  # both ends do not depend on the map
    inner = score_changed(pixel_ranks(maps, seeds), fractions, classes, scorer, mix, batch)
    return Curve(torch.cat([first[:, None].float(), inner, last[:, None].float()], dim=1))
