"""Generic attention explainability: Chefer et al. 2021, arXiv 2103.15679, eq. 5 and 6."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.rollout import read_out


def chefer(p: Pass, _options: Options) -> Tensor:
    """R ← R + mean_heads(relu(∂S/∂A ⊙ A)) R over the blocks, R = I at first; M: the rows the score is read from.

    Returns (N, h, w) float32, non-negative.
    """
    attention = p.network.attention()
    gradients = p.network.attention_gradients()
    unit = torch.eye(attention.matrices[0].shape[-1], device=p.inputs.device)
    steps = [
        unit + (gradient * matrix).relu().mean(1)
        for gradient, matrix in zip(gradients, attention.matrices, strict=True)
    ]
    return read_out(attention, *steps)


METHOD = Method(
    "chefer", "generic attention explainability", "Chefer 2021, arXiv:2103.15679",
    "F+B", chefer, signed=False, scope="network", needs=("attention",),
)  # fmt: skip
