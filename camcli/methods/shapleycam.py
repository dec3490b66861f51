"""ShapleyCAM: Cai 2025, arXiv 2501.06261."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def shapleycam(p: Pass, _options: Options) -> Tensor:
    """w_k = mean_ij (g − ½ Hess·A); M = Σ_k w_k A_k. Equals Grad-CAM where the tail is piecewise linear.

    Returns (N, h, w) float32, signed.
    """
    return p.weighted_sum((p.g - 0.5 * p.layer.curvature(p.activations)).mean((2, 3)))


METHOD = Method(
    "shapleycam", "ShapleyCAM", "Cai 2025, arXiv:2501.06261",
    "F+2B", shapleycam, needs_gradients=True, weighted=True, needs=("curvature",),
)  # fmt: skip
