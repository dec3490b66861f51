"""LeGrad: Bousselham et al. 2025, arXiv 2404.03214, eq. 6 to 9."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def legrad(p: Pass, _options: Options) -> Tensor:
    """M = Σ_l mean_{heads, queries} relu(∂S_l/∂A_l), S_l read from the tokens behind block l as from the last block's.

    Returns (N, h, w) float32, non-negative.
    """
    attention = p.network.attention()
    terms = [gradient.relu().mean((1, 2)) for gradient in p.network.block_gradients()]
    return attention.on_grid(torch.stack(terms).sum(0))


METHOD = Method(
    "legrad", "LeGrad", "Bousselham 2025, arXiv:2404.03214",
    "F+L B", legrad, signed=False, scope="network", needs=("attention",), replays_blocks=True,
)  # fmt: skip
