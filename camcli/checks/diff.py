"""How attention moved between two runs: the distances of ``drift``, apart for images whose prediction changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcli.checks.baseline import Baseline
from camcli.checks.context import Context
from camcli.checks.recorded import MapKey, Recorded
from camcli.checks.regions import Regions
from camcli.checks.reopened import Lab
from camcli.checks.result import Result
from camcli.checks.rules.drift import METRICS, Moved, columns, compare, judged
from camcli.checks.suite import Suite
from camcli.errors import ConfigError

PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Difference:
    """Two runs, compared.

    Attributes:
        moved: every image that both have, with its distances.
        only_base, only_new: images that only one of them has.
        notes: what else differs between the runs, a line each.
    """

    moved: list[Moved]
    only_base: int
    only_new: int
    notes: list[str]

    @property
    def groups(self) -> dict[str, list[Moved]]:
        """All images, those whose prediction stayed, those whose prediction changed."""
        return {
            "all": self.moved,
            "same prediction": [one for one in self.moved if one.same_prediction],
            "changed prediction": [one for one in self.moved if not one.same_prediction],
        }

    def most_moved(self, count: int = 10) -> list[Moved]:
        """The images whose maps have least in common, worst first."""
        return sorted(self.moved, key=lambda one: one.distances["spearman"])[:count]

    def as_json(self) -> dict[str, Any]:
        return {
            "images": len(self.moved),
            "changed_predictions": len(self.groups["changed prediction"]),
            "only_base": self.only_base,
            "only_new": self.only_new,
            "notes": self.notes,
            "distances": {name: distribution(group) for name, group in self.groups.items()},
            "moved": [moved_json(one) for one in self.most_moved()],
        }


def judge_difference(run: Recorded, key: MapKey, suite: Suite, moved: list[Moved]) -> Result:
    """The outcome of the check ``drift`` for images that were compared already, with the thresholds of a suite."""
    with Lab(run, key) as lab:
        return judged(Context(run, key, suite.settings["drift"], suite.common, Regions(run), lab), moved, "")


def difference(base: Baseline, run: Recorded, key: MapKey) -> Difference:
    """Compare a run with a baseline or another run.

    Raises:
        ConfigError: they have no image in common.
    """
    matched = base.matching(run)
    moved = compare(run, key, matched)
    known = sum(matched.find(seen) is not None for seen in run.images)
    if not known:
        raise ConfigError(f"{base.name} and {run.path} have no image in common, neither by content nor by name.")
    notes = [line for line in base.differences(run, key) if "images are not in" not in line]
    if base.header["layer"] != key[1]:
        notes.append(f"layer: {base.header['layer']} → {key[1]}")
    return Difference(moved, base.size - known, len(run.images) - known, notes)


def distribution(group: Sequence[Moved]) -> Mapping[str, Any] | None:
    """5th percentile, median and 95th percentile of each distance; None without images."""
    if not group:
        return None
    found: dict[str, Any] = {"n": len(group)}
    for name, values in columns(list(group)).items():
        low, middle, high = np.percentile(values, PERCENTILES)
        found[name] = {"p05": float(low), "median": float(middle), "p95": float(high)}
    return found


def moved_json(one: Moved) -> dict[str, Any]:
    """One image with its distances and both predictions."""
    return {
        "image": one.seen.image,
        "source": one.seen.source,
        "base_prediction": one.known.predicted_name or one.known.predicted,
        "new_prediction": one.seen.predicted_name or one.seen.predicted,
        **{name: one.distances[name] for name in METRICS},
    }
