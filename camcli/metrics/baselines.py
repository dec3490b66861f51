"""Model-independent baselines: maps that every figure has to be compared with.

``random``   uniform noise on the grid of the target layer, as coarse as the maps it is compared with
``centre``   a Gaussian in the middle of the input, where photographs often show their object
``sobel``    the edges of the image, independent of the class
``fakecam``  1 everywhere but in one pixel (Poppi 2021): keeps the image: best by Average Drop without explaining
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.device import to_device

BASELINES = ("random", "centre", "sobel", "fakecam")


def baseline(key: str, inputs: Tensor, grid: tuple[int, int], seeds: Sequence[int]) -> Tensor:
    """The raw map of a baseline: ``random`` on the grid, the others at the size of the input.

    Args:
        key: one of :data:`BASELINES`.
        inputs: (N, C, H, W), normalised.
        grid: (h, w) of the target layer.
        seeds: N, one an image; only ``random`` uses them.

    Returns:
        (N, h, w) or (N, H, W) float32 in [0, 1], on the device of the inputs.
    """
    if key == "random":
        maps = [torch.rand(grid, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return to_device(torch.stack(maps), inputs.device)
    if key == "sobel":
        return sobel(inputs)
    size = inputs.shape[-2], inputs.shape[-1]
    one = centre(size) if key == "centre" else fake_cam(size)
    return to_device(one, inputs.device).expand(len(inputs), *size)


def centre(size: tuple[int, int]) -> Tensor:
    """(H, W): a Gaussian whose deviation is a quarter of each side."""
    profiles = [torch.exp(-(((torch.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * 0.25**2)) for n in size]
    return profiles[0][:, None] * profiles[1]


def fake_cam(size: tuple[int, int]) -> Tensor:
    """(H, W): ones, and 0 in the top left pixel."""
    heat = torch.ones(size)
    heat[0, 0] = 0
    return heat


def sobel(inputs: Tensor) -> Tensor:
    """(N, H, W) in [0, 1]: length of the Sobel gradient of the channels' mean, over its maximum in the image."""
    gray = F.pad(inputs.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = to_device(torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]), inputs.device)
    edges: Tensor = torch.linalg.vector_norm(F.conv2d(gray, torch.stack([across, across.T])[:, None]), dim=1)
    strongest = edges.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return edges / strongest
