"""Uncertainty over images: percentile intervals of the seeded bootstrap, paired between the rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 22  # numbers of a block of resamples

Finish = Callable[[np.ndarray], np.ndarray]
"""From means over images (…, K) to the figure (…)."""


@dataclass(frozen=True)
class Estimate:
    """A figure over images.

    Attributes:
        value: None where no image has one.
        interval: 95 %; None with fewer than two images.
        n: images that count.
    """

    value: float | None
    interval: tuple[float, float] | None
    n: int


def first(means: np.ndarray) -> np.ndarray:
    """The figure is the mean itself: (…, 1) → (…)."""
    return means[..., 0]


def estimate(values: np.ndarray, finish: Finish = first, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """A figure that is a function of means over images, with its interval.

    Args:
        values: (N, K) per image; images with a NaN are left out.
        finish: from means to the figure.
        seed: of the resampling.
        draws: resamples.
    """
    known = values[~np.isnan(values).any(axis=1)]
    if not len(known):
        return Estimate(None, None, 0)
    value = float(finish(known.mean(axis=0)))
    return Estimate(value, _interval(finish(_means(known, seed, draws)), len(known)), len(known))


def difference(a: np.ndarray, b: np.ndarray, finish: Finish = first, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Figure of ``a`` minus figure of ``b`` over the images that have both, with the same images in each resample."""
    known = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    if not known.any():
        return Estimate(None, None, 0)
    a, b = a[known], b[known]
    value = float(finish(a.mean(axis=0)) - finish(b.mean(axis=0)))
    resampled = finish(_means(a, seed, draws)) - finish(_means(b, seed, draws))
    return Estimate(value, _interval(resampled, len(a)), len(a))


def _means(values: np.ndarray, seed: int, draws: int) -> np.ndarray:
    """(draws, K): means of N images drawn with repetition; the same draws for the same N and seed."""
    n = len(values)
    block = max(1, _AT_ONCE // n)
    starts = range(0, draws, block)
    means = [_counts(n, min(block, draws - s), seed, s) @ values.astype(np.float64) / n for s in starts]
    return np.concatenate(means)


@lru_cache(maxsize=2)  # every figure of a table is over the same images
def _counts(n: int, draws: int, seed: int, start: int) -> np.ndarray:
    """(draws, n): how often each image is in each resample."""
    picked = np.random.default_rng([seed, n, start]).integers(0, n, (draws, n))
    return np.stack([np.bincount(row, minlength=n) for row in picked]).astype(np.float64)


def _interval(resampled: np.ndarray, n: int) -> tuple[float, float] | None:
    if n < 2:
        return None
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
