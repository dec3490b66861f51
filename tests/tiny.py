"""A tiny convolutional classifier for tests that need any model, named as `factory:tests.tiny:build`."""

from __future__ import annotations

import torch
from torch import nn

CLASSES = ("cat", "dog", "cup", "flower")


def build() -> nn.Module:
    """Four classes, 64×64 and larger inputs, an 8×8 grid at `features` for 64×64."""
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
    )  # fmt: skip
    return Tiny(features)


class Tiny(nn.Module):
    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(16, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x).mean((2, 3)))
        return logits
