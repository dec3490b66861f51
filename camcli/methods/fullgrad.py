"""FullGrad: Srinivas and Fleuret 2019, arXiv 1905.00780, eq. 4 and 6."""

import torch
from torch import Tensor

from camcli.methods.base import Biases, Method, Options, Pass
from camcli.methods.images import upsampled


def fullgrad(p: Pass, _options: Options) -> Tensor:
    """M = Σ_channels |x ⊙ ∂S/∂x| + Σ_layers Σ_channels U(|b ⊙ ∂S/∂b-map|), every implicit bias counted.

    Returns (N, H, W) float32, non-negative.
    """
    return torch.cat([_add_up(part) for part in p.network.biases()])


def _add_up(part: Biases) -> Tensor:
    size = (part.inputs.shape[2], part.inputs.shape[3])
    total = part.inputs.abs().sum(1)
    for maps in part.maps:
        total = total + upsampled(maps.abs().sum(1), size)  # U is linear: summed before it
    return total


METHOD = Method(
    "fullgrad", "FullGrad", "Srinivas 2019, arXiv:1905.00780",
    "F+B to the input", fullgrad, signed=False, scope="network", needs=("network gradient", "biases"),
)  # fmt: skip
