"""Guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806) and its product with Grad-CAM (Selvaraju 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from camcli.methods.base import Pass
from camcli.methods.gradcam import gradcam
from camcli.methods.images import upsampled


def guidedbackprop(p: Pass, _options: Mapping[str, Any]) -> Tensor:
    """M = max_channel |∂S/∂x|, negative gradients stopped at every ReLU. Returns (N, H, W) float32, non-negative."""
    return p.network.guided_gradient().abs().amax(1)


def guidedgradcam(p: Pass, options: Mapping[str, Any]) -> Tensor:
    """M = guided backpropagation ⊙ U(Grad-CAM). Returns (N, H, W) float32, signed."""
    return guidedbackprop(p, options) * upsampled(gradcam(p, options), (p.inputs.shape[2], p.inputs.shape[3]))
