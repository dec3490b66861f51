"""Grad-CAM++: Chattopadhyay et al. 2018, arXiv 1710.11063, eq. 19."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def gradcampp(p: Pass, _options: Options) -> Tensor:
    """α = g² / (2g² + S_k g³), S_k = Σ_ab A_ab; w_k = Σ_ij α·relu(g); M = Σ_k w_k A_k.

    Positions with g ≤ 0 do not count. The map depends on the scale of the score, since S_k·g is added to 2.
    Returns (N, h, w) float32, signed.
    """
    total = p.activations.sum((2, 3), keepdim=True)
    below = 2 + total * p.g  # g² divided out, so that a tiny gradient does not vanish against a constant
    alpha = torch.where(below.abs() < 1e-6, 0.0, 1 / below)
    return p.weighted_sum((alpha * p.g.relu()).sum((2, 3)))


METHOD = Method(
    "gradcam++", "Grad-CAM++", "Chattopadhyay 2018, arXiv:1710.11063",
    "F+B", gradcampp, needs_gradients=True, weighted=True, candidate=True,
)  # fmt: skip
