"""What metrics compute with a model: the probability of one class for each of many altered inputs."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from camcli.device import to_device
from camcli.metrics.order import pixel_counts

BATCH = 4
"""Altered inputs scored at once, unless the caller says otherwise: on a CPU small batches stay in its caches, and their
activations in memory that the allocator keeps, where larger ones are mapped again for every layer."""


class Scorer(Protocol):
    """From inputs (M, C, H, W), normalised, and their classes (M,) to the probabilities (M,) of these classes."""

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor: ...


Change = Callable[[Tensor, Tensor], Tensor]
"""From the places (M,) of images, and the pixels (M, H, W) bool that change in each, to inputs (M, C, H, W)."""


def score_changed(
    ranks: Tensor, fractions: Sequence[float], classes: Tensor, scorer: Scorer, change: Change, batch: int = BATCH
) -> Tensor:
    """Probabilities of inputs that are changed at their highest-ranked pixels.

    Never more than ``batch`` of them exist at once.

    Args:
        ranks: (N, H, W), 0 for the pixel that changes first.
        fractions: K, shares of the pixels that change.
        classes: (N,).
        scorer: gives class probabilities.
        change: makes the changed inputs.
        batch: inputs changed and scored at once.

    Returns:
        (N, K) float32.
    """
    images, steps = len(ranks), len(fractions)
    counts = to_device(pixel_counts(ranks.shape[1] * ranks.shape[2], fractions), ranks.device)
    scores = []
    for start in range(0, images * steps, batch):
        pairs = torch.arange(start, min(start + batch, images * steps), device=ranks.device)
        i, k = pairs // steps, pairs % steps
        scores.append(scorer(change(i, ranks[i] < counts[k][:, None, None]), classes[i]).float())
    return torch.cat(scores).reshape(images, steps) if scores else ranks.new_zeros((images, steps), dtype=torch.float32)


def score_all(inputs: Tensor, classes: Tensor, scorer: Scorer, batch: int = BATCH) -> Tensor:
    """(N,) float32 probabilities of inputs (N, C, H, W), ``batch`` at a time."""
    parts = zip(torch.split(inputs, batch), torch.split(classes, batch), strict=True)
    return torch.cat([scorer(part, some).float() for part, some in parts])
