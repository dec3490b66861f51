"""Smooth Grad-CAM++: Omeiza et al. 2019, arXiv 1908.01224."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.options import Option
from camcli.methods.philox import noise_key, normal_noise
from camcli.methods.xgradcam import VANISHING

OPTIONS = (
    Option("samples", 4, "noisy copies of the image", kind=int, least=1),
    Option("std", 0.15, "deviation of the noise, as a share of the range of the input", kind=float, least=0),
)


def smoothgradcampp(p: Pass, options: Options) -> Tensor:
    """Grad-CAM++ with g, g², g³ averaged over noisy inputs, A and S_k from the clean pass.

    α = ⟨g²⟩ / (2⟨g²⟩ + S_k⟨g³⟩), 0 where the denominator vanishes; w_k = Σ_ij α·relu(⟨g⟩); M = Σ_k w_k A_k.
    Noise N(0, (std · (max x − min x))²), seeded per image, the same on every device. Returns (N, h, w) float32, signed.
    """
    count = options["samples"]
    first, second, third = (torch.zeros_like(p.activations) for _ in range(3))
    spread = options["std"] * (p.inputs.amax((1, 2, 3), keepdim=True) - p.inputs.amin((1, 2, 3), keepdim=True))
    key = noise_key(p.seeds, p.inputs.device)
    for number in range(count):
        noise = normal_noise(key, number, p.inputs.shape[1:])
        g = p.layer.gradients(p.inputs + noise * spread)
        first, second, third = first + g / count, second + g**2 / count, third + g**3 / count
    rest = p.activations.sum((2, 3), keepdim=True) * third
    below = 2 * second + rest
    vanishes = below.abs() <= VANISHING * (2 * second + rest.abs())
    alpha = torch.where(vanishes, 0.0, second / below)
    return p.weighted_sum((alpha * first.relu()).sum((2, 3)))


METHOD = Method(
    "smoothgradcam++", "Smooth Grad-CAM++", "Omeiza 2019, arXiv:1908.01224",
    "nF+nB", smoothgradcampp, weighted=True, needs=("other inputs",), seeded=True, options=OPTIONS,
    cost_as_set="{samples}F+{samples}B",
)  # fmt: skip
