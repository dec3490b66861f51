"""Uncertainty over images: percentile intervals of the seeded bootstrap (Efron 1979).

:func:`estimate` and :func:`difference` resample means over images, paired between the rows of a table.
:class:`Bootstrap` gives intervals of quantiles, shares and means. It resamples no quantile in full: the order
statistics of n uniform draws have a beta distribution, so the quantile of a resample is drawn directly, and costs no
more for a million images than for thirty.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 2000
LEVEL = 0.95
_AT_ONCE = 1 << 22  # numbers of a block of resamples

Interval = tuple[float, float]

Finish = Callable[[np.ndarray], np.ndarray]
"""From means over images (…, K) to the figure (…)."""


def percentile_interval(draws: np.ndarray, level: float = LEVEL) -> Interval:
    """The central interval that holds the share ``level`` of the draws (n,)."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A figure over images.

    Attributes:
        value: None where no image has one.
        interval: 95 %; None with fewer than two images.
        n: images that count.
    """

    value: float | None
    interval: Interval | None
    n: int


def first(means: np.ndarray) -> np.ndarray:
    """The figure is the mean itself: (…, 1) → (…)."""
    return means[..., 0]


def estimate(values: np.ndarray, finish: Finish = first, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """A figure that is a function of means over images, with its interval.

    Args:
        values: (N, K) per image; images with a NaN are excluded.
        finish: from means to the figure.
        seed: of the resampling.
        draws: resamples.
    """
    valid = values[~np.isnan(values).any(axis=1)]
    if not len(valid):
        return Estimate(None, None, 0)
    value = float(finish(valid.mean(axis=0)))
    return Estimate(value, _interval(finish(_means(valid, seed, draws)), len(valid)), len(valid))


def difference(a: np.ndarray, b: np.ndarray, finish: Finish = first, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Figure of ``a`` minus figure of ``b`` over the images that have both, with the same images in each resample."""
    in_both = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    if not in_both.any():
        return Estimate(None, None, 0)
    a, b = a[in_both], b[in_both]
    value = float(finish(a.mean(axis=0)) - finish(b.mean(axis=0)))
    resampled = finish(_means(a, seed, draws)) - finish(_means(b, seed, draws))
    return Estimate(value, _interval(resampled, len(a)), len(a))


def log_ways(n: int, k: int) -> float:
    """Natural logarithm of the number of ways to choose ``k`` of ``n``."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def log_hypergeometric_tail(hits: int, sampled: int, marked: int, total: int) -> float:
    """Natural logarithm of P(at least ``hits`` of ``sampled`` are marked), where ``marked`` of ``total`` are.

    The hypergeometric tail; a logarithm, since it may be smaller than what a float can carry.
    """
    whole = log_ways(total, sampled)
    terms = [
        log_ways(marked, k) + log_ways(total - marked, sampled - k) - whole
        for k in range(max(hits, sampled - (total - marked)), min(sampled, marked) + 1)
    ]
    if not terms:
        return -math.inf
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))


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


def _interval(resampled: np.ndarray, n: int) -> Interval | None:
    return None if n < 2 else percentile_interval(resampled)


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are computed.

    Attributes:
        confidence: share of the resamples that the interval holds.
        resamples: how many are drawn.
        seed: of the draws; the same values give the same interval.
    """

    confidence: float = LEVEL
    resamples: int = DRAWS
    seed: int = 0

    def quantile(self, values: np.ndarray, q: float) -> Interval:
        """Interval of the quantile ``q`` in [0, 1] (linear between neighbours, as numpy's default)."""
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        n = len(ordered)
        place = (n - 1) * q
        k = int(place)
        draw = np.random.default_rng(self.seed)
        # U_(k+1) of n uniform draws is Beta(k + 1, n - k); the next one is the least of the n - k - 1 draws above it.
        lower = draw.beta(k + 1, n - k, self.resamples)
        rest = n - k - 1
        upper = lower + (1 - lower) * draw.beta(1, rest, self.resamples) if rest else lower
        at = [ordered[np.minimum((n * u).astype(np.int64), n - 1)] for u in (lower, upper)]
        return percentile_interval(at[0] + (place - k) * (at[1] - at[0]), self.confidence)

    def share(self, hits: int, n: int) -> Interval:
        """Interval of a share of n images."""
        draw = np.random.default_rng(self.seed)
        return percentile_interval(draw.binomial(n, hits / n, self.resamples) / n, self.confidence)

    def mean(self, values: np.ndarray) -> Interval:
        """Interval of the mean."""
        values = np.asarray(values, dtype=np.float64)
        draw = np.random.default_rng(self.seed)
        chunk = max(1, 4_000_000 // len(values))
        means: list[np.ndarray] = []
        for start in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - start)
            means.append(values[draw.integers(len(values), size=(count, len(values)))].mean(1))
        return percentile_interval(np.concatenate(means), self.confidence)
