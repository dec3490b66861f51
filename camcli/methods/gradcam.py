"""Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def gradcam(p: Pass, _options: Options) -> Tensor:
    """w_k = mean_ij g_k; M = Σ_k w_k A_k. Returns (N, h, w) float32, signed."""
    return p.weighted_sum(p.g.mean((2, 3)))


METHOD = Method(
    "gradcam", "Grad-CAM", "Selvaraju 2017, arXiv:1610.02391",
    "F+B", gradcam, needs_gradients=True, weighted=True, candidate=True,
)  # fmt: skip
