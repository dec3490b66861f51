"""XGrad-CAM: Fu et al. 2020, arXiv 2008.02312, eq. 8."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass

VANISHING = 1e-6
"""A denominator below this share of the sum of the absolute values that enter it counts as zero."""


def xgradcam(p: Pass, _options: Options) -> Tensor:
    """w_k = Σ_ij g·A / Σ_ij A, 0 where the denominator vanishes; M = Σ_k w_k A_k. Returns (N, h, w) float32, signed."""
    total = p.activations.sum((2, 3))
    vanishes = total.abs() <= VANISHING * p.activations.abs().sum((2, 3))
    return p.weighted_sum(torch.where(vanishes, 0.0, (p.g * p.activations).sum((2, 3)) / total))


METHOD = Method(
    "xgradcam", "XGrad-CAM", "Fu 2020, arXiv:2008.02312",
    "F+B", xgradcam, needs_gradients=True, weighted=True, candidate=True,
)  # fmt: skip
