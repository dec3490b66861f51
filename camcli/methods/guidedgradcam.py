"""Guided Grad-CAM: Selvaraju et al. 2017, arXiv 1610.02391."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.gradcam import gradcam
from camcli.methods.guidedbackprop import guidedbackprop
from camcli.methods.images import upsampled


def guidedgradcam(p: Pass, options: Options) -> Tensor:
    """M = guided backpropagation ⊙ U(Grad-CAM). Returns (N, H, W) float32, signed."""
    return guidedbackprop(p, options) * upsampled(gradcam(p, options), (p.inputs.shape[2], p.inputs.shape[3]))


METHOD = Method(
    "guidedgradcam", "Guided Grad-CAM", "Selvaraju 2017, arXiv:1610.02391",
    "F+B to the input", guidedgradcam, needs_gradients=True, needs=("network gradient", "relu"),
)  # fmt: skip
