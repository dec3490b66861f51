"""Deletion: how fast the class is lost when the pixels the map names first are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer


def deletion(
    inputs: Tensor, maps: Tensor, classes: Tensor, scorer: Scorer, seeds: Sequence[int], **options: Unpack[CurveOptions]
) -> Curve:
    """The deletion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a small area is good.

    With x_k the input whose first k/steps of the pixels by rank of L are 0 (the mean colour, in normalised space),
    the area under p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the inputs to zeros.
    """
    return replacement_curve(inputs, torch.zeros_like(inputs), maps, classes, scorer, seeds, **options)
