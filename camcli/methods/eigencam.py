"""Eigen-CAM (Muhammad and Yeasin 2020, arXiv 2008.00299) and its variant on gradient × activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from camcli.methods.base import Pass
from camcli.methods.eigen import first_component


def eigencam(p: Pass, _options: Mapping[str, Any]) -> Tensor:
    """M = X v₁, X the positions × channels of A, columns centred; sign by Σ_k |A_k|. Returns (N, h, w) float32, signed.

    Σ_k A_k itself would give the wrong sign on layers whose activations are largely negative.
    """
    return first_component(p.activations, p.activations.abs().sum(1))


def eigengradcam(p: Pass, _options: Mapping[str, Any]) -> Tensor:
    """The same of g ⊙ A; sign by Σ_k g_k ⊙ A_k. Returns (N, h, w) float32, signed."""
    product = p.g * p.activations
    return first_component(product, product.sum(1))
