"""U and N01 of the formulas."""

import torch
import torch.nn.functional as F
from torch import Tensor


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """U: maps (..., h, w) → (..., H, W), bilinear, corners not aligned."""
    shape = maps.shape[:-2]
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return F.interpolate(flat, size, mode="bilinear", align_corners=False).reshape(*shape, *size)


def normalised(maps: Tensor) -> Tensor:
    """N01: every map (..., h, w) min-max to [0, 1]; zeros for a constant one, NaN for one with NaN."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return torch.where(high == low, 0.0, (maps - low) / (high - low))
