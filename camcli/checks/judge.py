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

from camcli.checks.result import Condition, Result, Status, WorstImage
from camcli.stats import Bootstrap, Interval

LIMIT = re.compile(r"(?:(?P<metric>[a-z]+)_)?(?P<statistic>median|mean|p\d\d)_(?P<side>min|max)")

_ORDER: tuple[Status, ...] = ("fail", "inconclusive", "pass")


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
            if match is None or limit is None or (match["metric"] or "") not in metrics:
                continue
            values = metrics[match["metric"] or ""]
            if not len(values):
                continue
            value, interval = self._statistic(values, match["statistic"])
            name = " ".join(part for part in (group, match["metric"], _WORDS.get(match["statistic"])) if part)
            side: Literal["min", "max"] = "max" if match["side"] == "max" else "min"
            name = (
                name if match["statistic"] in _WORDS else f"{name} {int(match['statistic'][1:])}th percentile".strip()
            )
            conditions.append(self.condition(name, value, side, limit, interval, len(values)))
        return rank_conditions(conditions)

    def condition(
        self, name: str, value: float, side: Literal["min", "max"], limit: float, interval: Interval, n: int
    ) -> Condition:
        """One statistic against one threshold."""
        bad_end, good_end = (interval[1], interval[0]) if side == "max" else (interval[0], interval[1])
        status: Status = "inconclusive"
        if n >= self.min_images:
            if not _beyond(bad_end, side, limit):
                status = "pass"
            elif _beyond(good_end, side, limit):
                status = "fail"
        return Condition(name, value, side, float(limit), interval, n, status)

    def _statistic(self, values: np.ndarray, name: str) -> tuple[float, Interval]:
        if name == "mean":
            return float(values.mean()), self.bootstrap.mean(values)
        q = 0.5 if name == "median" else int(name[1:]) / 100
        return float(np.quantile(values, q)), self.bootstrap.quantile(values, q)


_WORDS = {"median": "median", "mean": "mean"}


def _beyond(value: float, side: str, limit: float) -> bool:
    return value > limit if side == "max" else value < limit


def rank_conditions(conditions: Sequence[Condition]) -> list[Condition]:
    """Those that decide first: failed, then inconclusive, then passed; of equals the one nearest to its threshold."""
    return sorted(conditions, key=lambda one: (_ORDER.index(one.status), one.room))


def status_of(conditions: Sequence[Condition]) -> Status:
    """The outcome of all conditions together; without any there is nothing to conclude."""
    return min((one.status for one in conditions), key=_ORDER.index, default="inconclusive")


@dataclass(frozen=True)
class Words:
    """The texts of a check's outcome.

    Attributes:
        measure: what its values are, and how they are to be read.
        trouble: what a failure means and what to look at.
    """

    measure: str
    trouble: str


def conclude(
    check: str, conditions: Sequence[Condition], words: Words, *, n: int, min_images: int,
    worst: Sequence[WorstImage] = (), details: dict[str, Any] | None = None,
) -> Result:  # fmt: skip
    """The outcome of a check in plain words.

    Args:
        check: its key.
        conditions: all of them.
        words: what was measured, and what a failure means.
        n: images that were measured.
        min_images: how many it takes.
        worst: images with the worst values.
        details: for programs.
    """
    status, conditions = status_of(conditions), rank_conditions(conditions)
    if not conditions:
        why = "no image could be measured"
    elif n < min_images:
        why = f"only {_images(n)} where {min_images} are needed to tell; so far {words.measure}: {conditions[0].words}"
    elif status == "fail":
        failed = [one for one in conditions if one.status == "fail"]
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        why = f"{words.measure}: {'; '.join(one.words for one in failed[:3])}{more}. {words.trouble}"
    elif status == "inconclusive":
        reason = "the interval reaches over the threshold; more images would tell"
        if conditions[0].n < min_images:
            reason = f"only {_images(conditions[0].n)}"
        why = f"{words.measure}: {conditions[0].words}; {reason}"
    else:
        why = f"{words.measure}: {conditions[0].words.replace(', should be', ',')}"
    return Result(check, status, why, tuple(conditions), n, tuple(worst), details or {})


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"


def rank_images(
    named: Sequence[tuple[str, str]],
    values: Sequence[float] | np.ndarray,
    *,
    high_is_bad: bool,
    words: str,
    count: int = 6,
) -> tuple[WorstImage, ...]:
    """The images with the most extreme values.

    Args:
        named: (image, source) of each.
        values: what was measured, one an image.
        high_is_bad: which end is the bad one.
        words: describes the value, which replaces ``{}``.
        count: how many.
    """
    order = np.argsort(-np.asarray(values) if high_is_bad else np.asarray(values), kind="stable")[:count]
    chosen = [(*named[i], float(values[i])) for i in map(int, order)]
    return tuple(WorstImage(image, source, value, words.format(f"{value:.2f}")) for image, source, value in chosen)
