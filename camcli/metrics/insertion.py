"""Insertion: how fast the class is found when a blurred image gets back the pixels the map names first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.metrics.curve import STEPS, Curve, replacement_curve
from camcli.metrics.order import pixel_ranks
from camcli.metrics.scoring import BATCH, Scorer

KERNEL, SIGMA, AT = 51, 20.0, 224
"""Width and deviation of the blur, in pixels of an input whose shorter side is :data:`AT`; they scale with it."""


def insertion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    blurred: Tensor | None = None,
    ends: tuple[Tensor, Tensor] | None = None,
    batch: int = BATCH,
) -> Curve:
    """The insertion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a large area is good.

    With x_k the blurred input whose first k/steps of the pixels by rank of L are the image's own, the area under
    p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,) int64, the class that each map explains.
        scorer: gives class probabilities.
        seeds: N, for the order of equal values of L.
        steps: parts in which the pixels come back.
        blurred: :func:`blur` of the inputs, where it is at hand.
        ends: p_c of the blurred and of the plain inputs, (N,) each, where known.
        batch: inputs scored at once.
    """
    ranks = pixel_ranks(maps, seeds)
    start = blur(inputs) if blurred is None else blurred
    return replacement_curve(start, inputs, ranks, classes, scorer, steps=steps, ends=ends, batch=batch)


def blur_width(height: int, width: int) -> tuple[int, float]:
    """(kernel, σ) in pixels of an input: 51 and 20 at 224, in proportion to the shorter side; the kernel is odd."""
    scale = min(height, width) / AT
    return 2 * round((KERNEL * scale - 1) / 2) + 1, SIGMA * scale


def blur(inputs: Tensor) -> Tensor:
    """(N, C, H, W) under a Gaussian; the image is mirrored at its borders, so that none gets darker."""
    channels, height, width = inputs.shape[1:]
    kernel, sigma = blur_width(height, width)
    half = kernel // 2
    offsets = torch.arange(-half, half + 1, device=inputs.device, dtype=torch.float32)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(inputs.dtype).expand(channels, 1, -1)
    padded = F.pad(inputs, (half, half, half, half), mode="reflect")
    rows = F.conv2d(padded, weights[:, :, None, :], groups=channels)
    return F.conv2d(rows, weights[:, :, :, None], groups=channels)
