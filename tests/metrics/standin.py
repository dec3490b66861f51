"""A small scorer, inputs and maps that several tests share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HEIGHT, WIDTH, CLASSES = 20, 16, 5


class LinearScorer:
    """The softmax of a fixed linear map of the pixels; remembers the sizes of the batches it was given."""

    def __init__(self, height: int = HEIGHT, width: int = WIDTH) -> None:
        generator = torch.Generator().manual_seed(11)
        self.weights = torch.randn(CLASSES, 3 * height * width, generator=generator) / 12
        self.batches: list[int] = []

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor:
        self.batches.append(len(inputs))
        logits = inputs.flatten(1) @ self.weights.T
        return logits.softmax(1).gather(1, classes[:, None])[:, 0]

    def one(self, x: np.ndarray, chosen: int) -> float:
        """The probability of one class of one input (3, H, W), in plain numpy."""
        logits = self.weights.double().numpy() @ x.astype(np.float64).ravel()
        shifted = np.exp(logits - logits.max())
        return float(shifted[chosen] / shifted.sum())


def inputs(count: int = 3, height: int = HEIGHT, width: int = WIDTH, seed: int = 5) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def heats(count: int = 3, height: int = HEIGHT, width: int = WIDTH, seed: int = 7) -> Tensor:
    """Maps in [0, 1] without equal values."""
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed))


def classes(count: int = 3) -> Tensor:
    return torch.arange(count) % CLASSES
