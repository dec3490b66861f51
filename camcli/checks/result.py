"""The outcome of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from camcli.stats import Interval

Status = Literal["fail", "warn", "inconclusive", "pass", "skipped"]
SEVERITY: tuple[Status, ...] = get_args(Status)
"""The worst outcome first."""


@dataclass(frozen=True)
class Condition:
    """One statistic against one threshold.

    Attributes:
        name: of the statistic, such as ``median`` or ``spearman p05``; with the class in front where it is of one.
        value: of the statistic.
        side: ``max``: at most the threshold is good; ``min``: at least.
        threshold: where good ends.
        interval: bootstrap interval of the value; None where the value itself decides.
        n: images it was made of.
        status: ``pass``, ``fail`` or ``inconclusive``.
    """

    name: str
    value: float
    side: Literal["min", "max"]
    threshold: float
    interval: Interval | None
    n: int
    status: Status

    @property
    def ends(self) -> Interval:
        """The interval; from the value to the value where there is none."""
        return self.interval or (self.value, self.value)

    @property
    def room(self) -> float:
        """How far the bad end of the interval keeps from the threshold, relative to it; negative beyond it."""
        low, high = self.ends
        distance = self.threshold - high if self.side == "max" else low - self.threshold
        return distance / max(abs(self.threshold), 1e-9)

    @property
    def words(self) -> str:
        """``median 1.62 [1.50 to 1.75], should be at most 1.30``."""
        between = f" [{number(self.interval[0])} to {number(self.interval[1])}]" if self.interval else ""
        bound = "at most" if self.side == "max" else "at least"
        return f"{self.name} {number(self.value)}{between}, should be {bound} {number(self.threshold)}"


@dataclass(frozen=True)
class WorstImage:
    """One of the images with the worst values.

    Attributes:
        image, source: as in the index.
        value: the image's own value of what was measured.
        words: what that value is.
    """

    image: str
    source: str
    value: float
    words: str


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Attributes:
        check: its key.
        status: ``pass``, ``fail``, ``warn`` (a failure that is only pointed at), ``inconclusive`` (too few images, or
            the interval holds the threshold) or ``skipped`` (what it needs is not there).
        why: the outcome in plain words.
        conditions: every statistic with its threshold; the first is the one that decided.
        n: images that were measured.
        worst: the images with the worst values, worst first.
        details: anything else that a program may want.
        required: it must be decided: inconclusive or skipped, it counts as failed.
    """

    check: str
    status: Status
    why: str
    conditions: tuple[Condition, ...] = ()
    n: int = 0
    worst: tuple[WorstImage, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    required: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether the result is required and was not decided."""
        return self.required and self.status in ("inconclusive", "skipped")

    @property
    def effective_status(self) -> Status:
        """The status that decides the exit code: a required check that was not decided counts as failed."""
        return "fail" if self.is_missing else self.status

    @property
    def reason(self) -> str:
        """The outcome in plain words, and why it counts as failed where it is required and was not decided."""
        return f"required, so this counts as failed: {self.why}" if self.is_missing else self.why

    @property
    def deciding(self) -> Condition | None:
        """The condition whose value and threshold stand in the table; None where nothing was measured."""
        return self.conditions[0] if self.conditions else None

    def as_warning(self) -> Result:
        """The same, where a failure shall only be pointed at."""
        return replace(self, status="warn") if self.status == "fail" else self

    def as_json(self) -> dict[str, Any]:
        """One result of ``cam check --format json``."""
        first = self.deciding
        return {
            "check": self.check,
            "status": self.status,
            "required": self.required,
            "value": first.value if first else None,
            "threshold": first.threshold if first else None,
            "interval": list(first.interval) if first and first.interval else None,
            "n": self.n,
            "worst": [asdict(one) for one in self.worst],
            "why": self.reason,
            "conditions": [asdict(one) for one in self.conditions],
            "details": self.details,
        }


def skip(check: str, why: str) -> Result:
    """What is needed is not there."""
    return Result(check, "skipped", why)


def overall(results: Sequence[Result]) -> Status:
    """The worst of the outcomes; a required check that was not decided counts as failed."""
    return min((result.effective_status for result in results), key=SEVERITY.index, default="skipped")


def number(value: float) -> str:
    """A number for people: two digits behind the point, more where it is small."""
    if value == 0 or abs(value) >= 0.095:
        return f"{value:.2f}"
    return f"{value:.2g}"
