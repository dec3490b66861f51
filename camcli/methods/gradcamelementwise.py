"""Element-wise Grad-CAM: every position and channel with its own gradient, only the positive products."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def gradcamelementwise(p: Pass, _options: Options) -> Tensor:
    """M = Σ_k relu(g_k ⊙ A_k). Returns (N, h, w) float32, non-negative."""
    # relu(g·A) = w·A with w = g where the product is positive: a weighted sum, so that --eigen-smooth applies.
    return p.weighted_sum(p.g * (p.g * p.activations > 0))


METHOD = Method(
    "gradcamelementwise", "element-wise Grad-CAM", "after Selvaraju 2017",
    "F+B", gradcamelementwise, needs_gradients=True, weighted=True, signed=False,
)  # fmt: skip
