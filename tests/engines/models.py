"""Classifiers that take their time, so that a run is still going when something happens to it, or end their process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.tiny import Tiny, build


class Slow(nn.Module):
    def __init__(self, model: Tiny) -> None:
        super().__init__()
        self.features, self.head = model.features, model.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.3)
        logits: torch.Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def build_slow() -> nn.Module:
    """The tiny model, a moment slower."""
    model = build()
    assert isinstance(model, Tiny)
    return Slow(model)


POISONED = (61, 61)
"""The size of an image that ends the process which prepares it."""


def _prepare(image: Image.Image) -> torch.Tensor:
    if image.size == POISONED:
        os.kill(os.getpid(), signal.SIGKILL)
    pixels = torch.from_numpy(np.asarray(image.convert("RGB").resize((64, 64)), np.float32).copy())
    return pixels.permute(2, 0, 1) / 255 - 0.5


def build_poisoned() -> tuple[nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """The tiny model, and preprocessing that no process survives with a certain image."""
    return build(), _prepare
