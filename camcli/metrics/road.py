"""ROAD: remove the most or the least relevant pixels without leaving a visible hole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camcli.metrics.impute import impute
from camcli.metrics.order import pixel_ranks, shares
from camcli.metrics.scoring import BATCH, Scorer

FRACTIONS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Road:
    """Probabilities after removal.

    Attributes:
        morf: (N, K), the most relevant fraction removed; low is good.
        lerf: (N, K), the least relevant fraction removed; high is good.
    """

    morf: Tensor
    lerf: Tensor

    @property
    def combined(self) -> Tensor:
        """(N,): (LeRF − MoRF) / 2, mean over the fractions, in [−½, ½]; higher is better."""
        return ((self.lerf - self.morf) / 2).mean(1)


def road(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    fractions: Sequence[float] = FRACTIONS,
    batch: int = BATCH,
) -> Road:
    """Remove and debias (Rong 2022, arXiv:2202.00449).

    Exactly the given fractions of the pixels are removed, by rank of L, and imputed with noise
    (:mod:`camcli.metrics.impute`).

    Args:
        inputs: (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,) int64, the class that each map explains.
        scorer: gives class probabilities.
        seeds: N, for the noise and for the order of equal values of L.
        fractions: shares of the pixels that are removed.
        batch: inputs imputed and scored at once.
    """
    ranks = pixel_ranks(maps, seeds)
    pixels = ranks.shape[1] * ranks.shape[2]
    counts = shares(pixels, fractions).to(ranks.device)

    def scores(order: Tensor) -> Tensor:
        found = []
        for start in range(0, len(order) * len(counts), batch):
            pairs = torch.arange(start, min(start + batch, len(order) * len(counts)), device=order.device)
            i, k = pairs // len(counts), pairs % len(counts)
            removed = order[i] < counts[k][:, None, None]
            filled = impute(inputs[i], removed, [seeds[n] for n in i.tolist()])
            found.append(scorer(filled, classes[i]).float())
        return torch.cat(found).reshape(len(order), len(counts))

    return Road(morf=scores(ranks), lerf=scores(pixels - 1 - ranks))
