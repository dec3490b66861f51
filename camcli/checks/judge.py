"""From values of images to an outcome: statistics, their intervals, and on which side of the threshold those lie.

A threshold is named after its statistic: ``median_max = 1.3`` requires a median of at most 1.3, ``p05_min`` the 5th
percentile to be at least; a metric's name may stand in front (``spearman_median_min``). It passes when the whole
interval is on the good side, fails when the whole is on the bad side, and is inconclusive between, or where there are
fewer than ``min_images`` images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from camcli.checks.recorded import ImageRecord
from camcli.checks.result import SEVERITY, Condition, Result, Status, WorstImage
from camcli.stats import Bootstrap, Interval

LIMIT = re.compile(r"(?:(?P<metric>[a-z]+)_)?(?P<statistic>median|mean|p\d\d)_(?P<side>min|max)")


@dataclass(frozen=True)
class Words:
    """The texts of a check's outcome.

    Attributes:
        measure: what its values are, and how they are to be read.
        failure: what a failure means and what to look at.
        image: what the value of one image is; the value replaces ``{}``.
    """

    measure: str
    failure: str
    image: str


@dataclass(frozen=True)
class Judge:
    """Decides by thresholds.

    Attributes:
        limits: the settings of a check; what is no threshold, and a threshold that is switched off, is passed over.
        min_images: fewer are inconclusive.
        bootstrap: how intervals are made.
    """

    limits: Mapping[str, Any]
    min_images: int
    bootstrap: Bootstrap

    def __call__(self, metrics: Mapping[str, np.ndarray], *, group: str = "") -> list[Condition]:
        """A condition for each threshold whose metric is given; those that decide first.

        Args:
            metrics: (n,) values of images by the name of the metric; "" where there is only one.
            group: what the values are of, in front of the condition's name.
        """
        conditions = []
        for key, limit in self.limits.items():
            match = LIMIT.fullmatch(key)
            values = metrics.get(match["metric"] or "", ()) if match else ()
            if match is None or limit is None or not len(values):
                continue
            value, interval = self._statistic(np.asarray(values), match["statistic"])
            side: Literal["min", "max"] = "max" if match["side"] == "max" else "min"
            name = statistic_name(match, group)
            conditions.append(self.condition(name, value, side, limit, interval, len(values)))
        return rank_conditions(conditions)

    def condition(
        self, name: str, value: float, side: Literal["min", "max"], limit: float, interval: Interval, n: int
    ) -> Condition:
        """One statistic against one threshold."""
        beyond = [end > limit if side == "max" else end < limit for end in interval]
        status: Status = "inconclusive"
        if n >= self.min_images and all(beyond) == any(beyond):
            status = "fail" if all(beyond) else "pass"
        return Condition(name, value, side, float(limit), interval, n, status)

    def conclude(
        self, check: str, conditions: Sequence[Condition], words: Words, images: Sequence[ImageRecord],
        values: Sequence[float] | np.ndarray, *, high_is_bad: bool, details: dict[str, Any] | None = None,
    ) -> Result:  # fmt: skip
        """The outcome of a check in plain words.

        Args:
            check: its key.
            conditions: all of them.
            words: what was measured, and what a failure means.
            images: those that were measured.
            values: by which they are ranked, one an image.
            high_is_bad: which end of the values is the bad one.
            details: for programs.
        """
        conditions, n = rank_conditions(conditions), len(images)
        first = conditions[0] if conditions else None
        if first is None:
            why = "no image could be measured"
        elif n < self.min_images:
            why = f"only {_images(n)} where {self.min_images} are needed; so far {words.measure}: {first.words}"
        elif first.status == "fail":
            failed = [one.words for one in conditions if one.status == "fail"]
            more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
            why = f"{words.measure}: {'; '.join(failed[:3])}{more}. {words.failure}"
        elif first.status == "inconclusive":
            reason = "the interval reaches over the threshold; more images would decide"
            if first.n < self.min_images:
                reason = f"only {_images(first.n)}"
            why = f"{words.measure}: {first.words}; {reason}"
        else:
            why = f"{words.measure}: {first.words.replace(', should be', ',')}"
        worst = rank_images(images, values, high_is_bad=high_is_bad, words=words.image)
        return Result(check, first.status if first else "inconclusive", why, tuple(conditions), n, worst, details or {})

    def _statistic(self, values: np.ndarray, name: str) -> tuple[float, Interval]:
        if name == "mean":
            return float(values.mean()), self.bootstrap.mean(values)
        q = 0.5 if name == "median" else int(name[1:]) / 100
        return float(np.quantile(values, q)), self.bootstrap.quantile(values, q)


def statistic_name(limit: re.Match[str], group: str = "") -> str:
    """The statistic of a threshold that :data:`LIMIT` matched, such as ``spearman 5th percentile``."""
    statistic = limit["statistic"]
    words = f"{int(statistic[1:])}th percentile" if statistic.startswith("p") else statistic
    return " ".join(part for part in (group, limit["metric"], words) if part)


def rank_conditions(conditions: Sequence[Condition]) -> list[Condition]:
    """Those that decide first: failed, then inconclusive, then passed; of equals the one nearest to its threshold."""
    return sorted(conditions, key=lambda one: (SEVERITY.index(one.status), one.room))


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"


def rank_images(
    images: Sequence[ImageRecord], values: Sequence[float] | np.ndarray, *, high_is_bad: bool, words: str
) -> tuple[WorstImage, ...]:
    """The six images with the most extreme values.

    Args:
        images: all of them.
        values: what was measured, one an image.
        high_is_bad: which end is the bad one.
        words: describes the value, which replaces ``{}``.
    """
    order = np.argsort(-np.asarray(values) if high_is_bad else np.asarray(values), kind="stable")[:6]
    worst = [(images[i], float(values[i])) for i in order.tolist()]
    return tuple(WorstImage(one.image, one.source, value, words.format(f"{value:.2f}")) for one, value in worst)
