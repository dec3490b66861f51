"""What metrics ask of a model: the probability of one class for each of many altered inputs."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

BATCH = 4
"""Altered inputs scored at once, unless the caller says otherwise: on a CPU small batches stay in its caches, and their
activations in memory that the allocator keeps, where larger ones are mapped anew for every layer."""


class Scorer(Protocol):
    """From inputs (M, C, H, W), normalised, and their classes (M,) to the probabilities (M,) of these classes."""

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor: ...


def score_mixtures(
    below: Tensor, above: Tensor, ranks: Tensor, counts: Tensor, classes: Tensor, scorer: Scorer, batch: int = BATCH
) -> Tensor:
    """Probabilities of inputs that are ``above`` at their first pixels by rank and ``below`` elsewhere.

    Never more than ``batch`` of them exist at once.

    Args:
        below, above: (N, C, H, W).
        ranks: (N, H, W), 0 for the pixel that changes first.
        counts: (K,), how many pixels are taken from ``above``.
        classes: (N,).

    Returns:
        (N, K) float32.
    """
    images, steps = len(ranks), len(counts)
    counts = counts.to(ranks.device)
    found = []
    for start in range(0, images * steps, batch):
        pairs = torch.arange(start, min(start + batch, images * steps), device=ranks.device)
        i, k = pairs // steps, pairs % steps
        taken = ranks[i] < counts[k][:, None, None]
        found.append(scorer(torch.where(taken[:, None], above[i], below[i]), classes[i]).float())
    return torch.cat(found).reshape(images, steps) if found else ranks.new_zeros((images, steps), dtype=torch.float32)


def score_all(inputs: Tensor, classes: Tensor, scorer: Scorer, batch: int = BATCH) -> Tensor:
    """(N,) float32 probabilities of inputs (N, C, H, W), ``batch`` at a time."""
    parts = zip(torch.split(inputs, batch), torch.split(classes, batch), strict=True)
    return torch.cat([scorer(part, some).float() for part, some in parts])
