"""Attention rollout: Abnar and Zuidema 2020, arXiv 2005.00928."""

import torch
from torch import Tensor

from camcli.methods.base import Attention, Method, Options, Pass


def rollout(p: Pass, _options: Options) -> Tensor:
    """R = Π_l rownorm(mean_heads A_l + I), the last block leftmost; M: the rows that the score is read from.

    Returns (N, h, w) float32, non-negative.
    """
    attention = p.network.attention()
    return read_out(attention, *(_add_residual(matrix) for matrix in attention.matrices))


def _add_residual(matrix: Tensor) -> Tensor:
    mean = matrix.mean(1) + torch.eye(matrix.shape[-1], device=matrix.device)
    return mean / mean.sum(-1, keepdim=True)


def read_out(attention: Attention, *steps: Tensor) -> Tensor:
    """The product of steps (N, tokens, tokens), later ones to the left; mean of the readout rows, on the grid."""
    relevance = steps[0]
    for step in steps[1:]:
        relevance = step @ relevance
    rows = list(attention.readout)
    if rows == [*range(rows[0], rows[-1] + 1)]:  # a list of numbers is sent to the device, a slice is not
        return attention.on_grid(relevance[:, rows[0] : rows[-1] + 1].contiguous().mean(1))
    return attention.on_grid(relevance[:, rows].mean(1))


METHOD = Method(
    "rollout", "attention rollout", "Abnar 2020, arXiv:2005.00928",
    "F", rollout, class_specific=False, signed=False, scope="network", needs=("attention",),
)  # fmt: skip
