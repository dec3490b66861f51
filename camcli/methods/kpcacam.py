"""KPCA-CAM: Karmani et al. 2024, arXiv 2410.00267."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.eigen import centre_rows, signed_maps


def kpcacam(p: Pass, _options: Options) -> Tensor:
    """First component of kernel PCA of the positions, X (n, K) with columns centred.

    Kernel tanh(X Xᵀ / K + 1), centred; M = √λ₁ u₁, λ₁ its largest eigenvalue; sign as in Eigen-CAM.
    Returns (N, h, w) float32, signed; NaN for an image whose activations are not finite.
    """
    a = p.activations
    rows, finite = centre_rows(a)
    kernel = torch.tanh(rows @ rows.transpose(1, 2) / rows.shape[2] + 1)
    kernel = kernel - kernel.mean(1, keepdim=True) - kernel.mean(2, keepdim=True) + kernel.mean((1, 2), keepdim=True)
    values, vectors = torch.linalg.eigh(kernel)
    scores = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    return signed_maps(scores, finite, a.abs().sum(1), a)


METHOD = Method("kpcacam", "KPCA-CAM", "Karmani 2024, arXiv:2410.00267", "F", kpcacam, class_specific=False)
