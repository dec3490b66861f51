"""Random views of photographs, made on the device from photographs that lie there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

STORED = 320
"""Side of the stored photographs, which are stretched to a square."""


def store(images: Sequence[Image.Image], device: torch.device) -> tuple[Tensor, Tensor]:
    """Photographs as (N, 3, STORED, STORED) uint8 on the device, and their widths over their heights, (N,)."""
    square = [np.asarray(image.resize((STORED, STORED), Image.Resampling.BICUBIC)) for image in images]
    aspects = torch.tensor([image.width / image.height for image in images])
    return torch.from_numpy(np.stack(square)).permute(0, 3, 1, 2).contiguous().to(device), aspects.to(device)


class Views:
    """Draws random crops, flips and colours of stored photographs, and mixtures of two.

    Args:
        stored, aspects: of :func:`store`.
        size: side of a view.
        seed: of all that is random.
        smallest: least share of a photograph's area in a view.
    """

    def __init__(self, stored: Tensor, aspects: Tensor, size: int, seed: int = 0, smallest: float = 0.15) -> None:
        self.stored, self.aspects, self.size, self.smallest = stored, aspects, size, smallest
        self.generator = torch.Generator(stored.device).manual_seed(seed)

    def __call__(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views in [0, 1], (count, 3, size, size); the two photographs of each, and the share of the first."""
        first = self._integers(len(self.stored), count)
        views = self._colours(self._crops(first))
        if float(self._uniform(1)) < 0.5:
            return views, first, first, torch.ones(count, device=views.device)
        other = torch.randperm(count, generator=self.generator, device=views.device)
        share = self._uniform(count)
        if float(self._uniform(1)) < 0.5:
            weight = share[:, None, None, None].to(views.dtype)
            return weight * views + (1 - weight) * views[other], first, first[other], share
        is_other, share = self._rectangles(1 - share)
        return torch.where(is_other[:, None], views[other], views), first, first[other], share

    def _crops(self, chosen: Tensor) -> Tensor:
        """A part of each photograph, of a share of its area and an aspect between 3:4 and 4:3, half of them flipped."""
        count, wide = len(chosen), self.aspects[chosen]
        area = self.smallest + (1 - self.smallest) * self._uniform(count)
        aspect = torch.exp(math.log(4 / 3) * (2 * self._uniform(count) - 1)) / wide
        width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        x, y = (1 - width) * (2 * self._uniform(count) - 1), (1 - height) * (2 * self._uniform(count) - 1)
        flip = torch.where(self._uniform(count) < 0.5, -1.0, 1.0)
        zero = torch.zeros_like(x)
        affine = torch.stack([torch.stack([width * flip, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
        grid = F.affine_grid(affine, [count, 3, self.size, self.size], align_corners=False)
        photographs = self.stored[chosen].to(grid.dtype) / 255
        return F.grid_sample(photographs, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def _colours(self, views: Tensor) -> Tensor:
        """Brightness, contrast and saturation, each by up to 40 %."""
        count = len(views)
        brightness, contrast, saturation = (0.6 + 0.8 * self._uniform(count)[:, None, None, None] for _ in range(3))
        views = views * brightness
        mean = views.mean((1, 2, 3), keepdim=True)
        views = mean + (views - mean) * contrast
        gray = views.mean(1, keepdim=True)
        return (gray + (views - gray) * saturation).clamp(0, 1)

    def _rectangles(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """(N, size, size) bool rectangles of about that share of the area, and the share outside."""
        half = share.sqrt()[:, None] / 2
        place = (torch.arange(self.size, device=share.device) + 0.5) / self.size
        rows, columns = ((place - self._uniform(len(share))[:, None]).abs() < half for _ in range(2))
        inside = rows[:, :, None] & columns[:, None, :]
        return inside, 1 - inside.float().mean((1, 2))

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator, device=self.stored.device)

    def _integers(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=self.generator, device=self.stored.device)
