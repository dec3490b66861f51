"""Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass

_ROUNDING = 2e-6
"""Of the largest mean size of a gradient: what float32 leaves of a mean that is zero."""


def gradcam(p: Pass, _options: Options) -> Tensor:
    """w_k = mean_ij g_k; M = Σ_k w_k A_k. Returns (N, h, w) float32, signed.

    Where the gradient cancels in every channel, as before a norm over positions, the weights are rounding, and the map
    is zero.
    """
    weights = p.g.mean((2, 3))
    cancels = weights.abs().amax(1, keepdim=True) <= _ROUNDING * p.g.abs().mean((2, 3)).amax(1, keepdim=True)
    return p.weighted_sum(weights.masked_fill(cancels, 0))


METHOD = Method(
    "gradcam", "Grad-CAM", "Selvaraju 2017, arXiv:1610.02391",
    "F+B", gradcam, needs_gradients=True, weighted=True, candidate=True,
)  # fmt: skip
