"""Inputs to try a model with before there is an image."""

from typing import Protocol

import torch
from torch import Tensor


class InputShape(Protocol):
    """The part of a preprocessing that describes what the model takes."""

    @property
    def channels(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


def noise(shape: InputShape, count: int, device: torch.device) -> Tensor:
    """(count, C, H, W) float32 of unit deviation; the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, shape.channels, shape.height, shape.width, generator=generator).to(device)
