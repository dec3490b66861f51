"""Eigen-Grad-CAM: the variant of Eigen-CAM on products of gradient and activation."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.eigen import first_component


def eigengradcam(p: Pass, _options: Options) -> Tensor:
    """Eigen-CAM of g ⊙ A; sign by Σ_k g_k ⊙ A_k. Returns (N, h, w) float32, signed."""
    product = p.g * p.activations
    return first_component(product, product.sum(1))


METHOD = Method("eigengradcam", "Eigen-Grad-CAM", "after Muhammad 2020", "F+B", eigengradcam, needs_gradients=True)
