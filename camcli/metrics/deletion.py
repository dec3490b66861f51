"""Deletion: how fast the class is lost when the pixels the map names first are taken away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.metrics.curve import STEPS, Curve, replacement_curve
from camcli.metrics.order import pixel_ranks
from camcli.metrics.scoring import BATCH, Scorer


def deletion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    ends: tuple[Tensor, Tensor] | None = None,
    batch: int = BATCH,
) -> Curve:
    """The deletion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a small area is good.

    With x_k the input whose first k/steps of the pixels by rank of L are 0 (the mean colour, in normalised space),
    the area under p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,) int64, the class that each map explains.
        scorer: gives class probabilities.
        seeds: N, for the order of equal values of L.
        steps: parts in which the pixels are deleted.
        ends: p_c of the inputs and of all-zero inputs, (N,) each, where known.
        batch: inputs scored at once.
    """
    ranks = pixel_ranks(maps, seeds)
    return replacement_curve(
        inputs, torch.zeros_like(inputs), ranks, classes, scorer, steps=steps, ends=ends, batch=batch
    )
