"""What a check is: its key, its settings, and the function that measures and judges."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from camcli.checks.context import Context
from camcli.checks.result import Result


@dataclass(frozen=True)
class Setting:
    """One setting of a check.

    Attributes:
        default: its value where the suite has none; None: switched off.
        help: what it means, with its range.
        kind: type of its values.
        low, high: the range of its values, both ends included; of a threshold the range of what it is compared with.
        optional: ``false`` switches it off, as it does every threshold that is named after a statistic.
    """

    default: Any
    help: str
    kind: type = float
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        key: what it is called in suites, ``--set`` and reports.
        question: what it tests, in plain words.
        run: measures and judges.
        settings: its thresholds and other settings.
        model: it runs the model on the images, where the others only read the run folder.
        by_default: it runs where no suite chooses.
        probability: it compares probabilities; left out where the outputs are values.
    """

    key: str
    question: str
    run: Callable[[Context], Result]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    model: bool = False
    by_default: bool = True
    probability: bool = False


COMMON: Mapping[str, Setting] = {
    "enabled": Setting(True, "false leaves the check out", bool),
    "min_images": Setting(None, "fewer images are inconclusive; the suite's own where it is not given", int),
    "warn": Setting(False, "true: a failure is only a warning", bool),
}
"""Settings that every check has."""

SUITE: Mapping[str, Setting] = {
    "min_images": Setting(30, "fewer images are inconclusive", int),
    "confidence": Setting(0.95, "share of the resamples that an interval holds", low=0, high=1),
    "resamples": Setting(2000, "resamples of a bootstrap interval", int),
    "seed": Setting(0, "of the bootstrap, and of samples of images", int),
    "method": Setting(None, "which method's maps are checked; the run's first", str),
    "layer": Setting(None, "which layer's maps are checked; the run's first", str),
    "require": Setting(None, "checks that must be decided: inconclusive or skipped, each fails", str),
    "manifest": Setting(None, "manifest to take mask, box and avoid from, instead of the run's own", str),
}
"""Settings of the table ``[suite]``: they hold for all checks."""
