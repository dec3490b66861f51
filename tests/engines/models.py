"""A classifier that takes its time, so that a run is still going when something happens to it."""

from __future__ import annotations

import time

import torch
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
