"""Bootstrap intervals over images: how far a statistic would move with other images of the same kind (Efron 1979).

Percentile intervals of resampling with replacement, seeded. Nothing is resampled in full: the order statistics of n
uniform draws have a known (beta) distribution, so the quantile of a resample can be drawn directly, and the same costs
no more for a million images than for thirty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Interval = tuple[float, float]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        confidence: share of the resamples that the interval holds.
        resamples: how many are drawn.
        seed: of the draws; the same values give the same interval.
    """

    confidence: float = 0.95
    resamples: int = 2000
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
        return self._between(at[0] + (place - k) * (at[1] - at[0]))

    def share(self, hits: int, n: int) -> Interval:
        """Interval of a share of n images."""
        draw = np.random.default_rng(self.seed)
        return self._between(draw.binomial(n, hits / n, self.resamples) / n)

    def mean(self, values: np.ndarray) -> Interval:
        """Interval of the mean."""
        values = np.asarray(values, dtype=np.float64)
        draw = np.random.default_rng(self.seed)
        chunk = max(1, 4_000_000 // len(values))
        means: list[np.ndarray] = []
        for start in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - start)
            means.append(values[draw.integers(len(values), size=(count, len(values)))].mean(1))
        return self._between(np.concatenate(means))

    def _between(self, drawn: np.ndarray) -> Interval:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return float(low), float(high)
