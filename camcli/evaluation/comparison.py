"""Entries of the table compared in pairs, on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from camcli.evaluation.entries import MethodEntry
from camcli.metrics import Metric
from camcli.stats import Estimate, difference


@dataclass(frozen=True)
class Comparison:
    """Two entries on the same images: figure of ``a`` minus figure of ``b``.

    Attributes:
        metric: key.
        a, b: names of the entries.
        estimate: of the difference.
        a_better, b_better: shares of the images that have both in which one is better; None where there is no such
            image, and for metrics with several numbers an image.
    """

    metric: str
    a: str
    b: str
    estimate: Estimate
    a_better: float | None = None
    b_better: float | None = None

    @property
    def reversed(self) -> Comparison:
        """The same with ``b`` first."""
        value, interval = self.estimate.value, self.estimate.interval
        turned = Estimate(None if value is None else -value, interval and (-interval[1], -interval[0]), self.estimate.n)
        return Comparison(self.metric, self.b, self.a, turned, self.b_better, self.a_better)

    @property
    def certain(self) -> bool:
        """Whether the whole interval is on one side of 0."""
        interval = self.estimate.interval
        return interval is not None and (interval[0] > 0 or interval[1] < 0)


def compare(
    entries: Sequence[MethodEntry], values: Mapping[str, Mapping[str, np.ndarray]], metrics: Sequence[Metric], seed: int
) -> list[Comparison]:
    """Every method against every later entry, for the metrics that judge."""
    comparisons = []
    for metric in metrics:
        if metric.better == "neither":
            continue
        for place, a in enumerate(entries):
            for b in entries[place + 1 :] if not a.baseline else []:
                pair = values[a.name][metric.key], values[b.name][metric.key]
                apart = in_unit(difference(*pair, metric.finish, seed), metric.factor)
                comparisons.append(Comparison(metric.key, a.name, b.name, apart, *_better(*pair, metric)))
    return comparisons


def _better(a: np.ndarray, b: np.ndarray, metric: Metric) -> tuple[float | None, float | None]:
    """The shares of the images that have both in which ``a`` and ``b`` are better."""
    if a.shape[1] != 1 or b.shape[1] != 1:
        return None, None
    ahead = ((a - b) if metric.better == "higher" else (b - a))[:, 0]
    ahead = ahead[~np.isnan(ahead)]
    return (float((ahead > 0).mean()), float((ahead < 0).mean())) if len(ahead) else (None, None)


def in_unit(result: Estimate, factor: float) -> Estimate:
    """The same times a factor."""
    value = None if result.value is None else result.value * factor
    interval = None if result.interval is None else (result.interval[0] * factor, result.interval[1] * factor)
    return Estimate(value, interval, result.n)
