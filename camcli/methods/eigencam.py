"""Eigen-CAM and its variants on products of gradient and activation.

Muhammad and Yeasin 2020, arXiv 2008.00299; Seg-Eigen-CAM: Chung and Ying 2025, doi 10.3390/app15137562, eq. 10 to 13.
"""

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


def segeigencam(p: Pass, _options: Mapping[str, Any]) -> Tensor:
    """The same of |g| ⊙ A; sign so that |max M| ≥ |min M|. Returns (N, h, w) float32, signed."""
    return first_component(p.g.abs() * p.activations, None)
