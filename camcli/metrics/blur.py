"""The Gaussian blur that insertion curves start from."""

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL, SIGMA, AT = 51, 20.0, 224
"""Width and deviation of the blur, in pixels of an input whose shorter side is :data:`AT`; they scale with it."""


def blur_width(height: int, width: int) -> tuple[int, float]:
    """(kernel, σ) in pixels of an input: 51 and 20 at 224, in proportion to the shorter side; the kernel is odd."""
    scale = min(height, width) / AT
    return 2 * round((KERNEL * scale - 1) / 2) + 1, SIGMA * scale


def blur(inputs: Tensor) -> Tensor:
    """(N, C, H, W) under a Gaussian; the image is mirrored at its borders, so that none gets darker."""
    channels, height, width = inputs.shape[1:]
    kernel, sigma = blur_width(height, width)
    half = kernel // 2
    offsets = torch.arange(-half, half + 1, device=inputs.device, dtype=torch.float32)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(inputs.dtype).expand(channels, 1, -1)
    padded = F.pad(inputs, (half, half, half, half), mode="reflect")
    rows = F.conv2d(padded, weights[:, :, None, :], groups=channels)
    return F.conv2d(rows, weights[:, :, :, None], groups=channels)
