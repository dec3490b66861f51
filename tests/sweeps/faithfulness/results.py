"""The results of a sweep, read again, as values of images that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from camcli.metrics import METRICS
from camcli.metrics.substrate import SUBSTRATES
from camcli.stats import Estimate, difference, estimate
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.work import read

CURVES = {"ins-del": "", **{f"ins-del.{key}": key for key in SUBSTRATES}}
"""Insertion − Deletion with the usual substrates, and with one for both curves."""


@dataclass(frozen=True)
class Row:
    """A contender on a model.

    Attributes:
        name: of the contender.
        figures, random, cost: the contents of its files; empty where there is none.
    """

    name: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    random: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        return self.name.startswith("baseline-")

    @property
    def images(self) -> int:
        """Photographs that were measured."""
        return len(self.figures["images"])

    def values(self, key: str) -> np.ndarray:
        """(N, 1) of a metric, in its own unit; of ``ins-del`` the difference of the curves."""
        own = self.figures["values"]
        if key in CURVES:
            first, second = (CURVES[key] or usual for usual in ("blur", "zero"))
            array = np.array(own[f"insertion.{first}"]) - np.array(own[f"deletion.{second}"])
        else:
            array = np.array(own[{"insertion": "insertion.blur", "deletion": "deletion.zero"}.get(key, key)], float)
        return array[:, None] * (METRICS[key].factor if key in METRICS else 1)

    def figure(self, key: str) -> Estimate:
        """With its 95 % interval."""
        return estimate(self.values(key))

    def against(self, other: Row, key: str) -> Estimate | None:
        """The paired difference on the images that both have; None where they have none, or are one."""
        if self.name == other.name:
            return None
        ours, theirs = self.figures["images"], other.figures["images"]
        count = min(len(ours), len(theirs))
        a, b = self.values(key), other.values(key)
        if key == "gridpg":
            return difference(a, b) if len(a) == len(b) and len(ours) == len(theirs) else None
        return difference(a[:count], b[:count]) if ours[:count] == theirs[:count] else None

    @property
    def passes(self) -> float | None:
        """What a map costs in forward passes: as measured, else as documented; None for baselines."""
        if self.is_baseline:
            return None
        measured = self.cost.get("measured_passes")
        return float(self.figures["passes"]) if measured is None else float(measured)

    @property
    def is_measured(self) -> bool:
        return "measured_passes" in self.cost

    def median(self, key: str) -> float | None:
        """The median correlation with maps of other weights (``weights``) or another class (``otherclass``)."""
        values = self._correlations(key)
        return float(np.median(values)) if values else None

    def mean_size(self, key: str) -> float | None:
        """The mean of |ρ| of the same: the median is also near 0 where as many maps are alike as are opposite."""
        values = self._correlations(key)
        return float(np.mean(np.abs(values))) if values else None

    def _correlations(self, key: str) -> list[float]:
        return [value for value in self.random.get("values", {}).get(key, []) if value is not None]


@dataclass(frozen=True)
class ModelResult:
    """All contenders of a model, the most faithful first, baselines last; and why others do not suit it."""

    model: str
    rows: list[Row]
    unsuitable: Mapping[str, str]

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


def load(out: Path) -> list[ModelResult]:
    """The results of all models, in the order of the models."""
    return collect(read(out))


def collect(documents: Iterable[Mapping[str, Any]]) -> list[ModelResult]:
    """The same of the contents of the files."""
    parts: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    unsuitable: dict[str, dict[str, str]] = {}
    for one in documents:
        if "unsuitable" in one:
            unsuitable.setdefault(one["model"], {})[one["contender"]] = one["unsuitable"]
        else:
            parts.setdefault(one["model"], {}).setdefault(one["contender"], {})[one["part"]] = one
    results = []
    for model in sorted(parts, key=list(MODELS).index):
        rows = [Row(name, **own) for name, own in parts[model].items() if "figures" in own]
        rows.sort(key=lambda row: (row.is_baseline, -(row.figure("ins-del").value or 0)))
        if rows:
            results.append(ModelResult(model, rows, unsuitable.get(model, {})))
    return results
