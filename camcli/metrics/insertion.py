"""Insertion: how fast the class is found when a blurred image gets back the pixels the map names first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer

KERNEL, SIGMA, AT = 51, 20.0, 224
"""Width and deviation of the blur, in pixels of an input whose shorter side is :data:`AT`; they scale with it."""


def insertion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    blurred: Tensor | None = None,
    **options: Unpack[CurveOptions],
) -> Curve:
    """The insertion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a large area is good.

    With x_k the blurred input whose first k/steps of the pixels by rank of L are the image's own, the area under
    p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the blurred to the plain
            inputs.
        blurred: :func:`blur` of the inputs, where it is at hand.
    """
    start = blur(inputs) if blurred is None else blurred
    return replacement_curve(start, inputs, maps, classes, scorer, seeds, **options)


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
