"""How the maps changed between two runs: the distances of ``drift``, apart for images whose prediction changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from camcli.checks.baseline import Baseline
from camcli.checks.context import Context
from camcli.checks.manifest_regions import ManifestRegions
from camcli.checks.recorded import MethodLayer, RecordedRun
from camcli.checks.reopened import ReopenedModel
from camcli.checks.result import Result
from camcli.checks.rules.drift import MapChange, compare, distances_by_metric, judge_changes, precision_words
from camcli.checks.suite import Suite
from camcli.errors import ConfigError

PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Difference:
    """Two runs, compared.

    Attributes:
        changes: every image that both have, with its distances.
        only_base, only_new: images that only one of them has.
        notes: what else differs between the runs, a line each.
        changed_content: images of one name and different content, which are compared by name.
        precisions: of ``base`` and ``new``, where they differ.
    """

    changes: list[MapChange]
    only_base: int
    only_new: int
    notes: list[str]
    changed_content: int = 0
    precisions: Mapping[str, str] | None = None

    @property
    def groups(self) -> dict[str, list[MapChange]]:
        """All images, those with the same prediction, those with another."""
        return {
            "all": self.changes,
            "same prediction": [one for one in self.changes if one.same_prediction],
            "changed prediction": [one for one in self.changes if not one.same_prediction],
        }

    def largest_changes(self, count: int = 10) -> list[MapChange]:
        """The images whose maps have least in common, largest change first."""
        return sorted(self.changes, key=lambda one: one.distances["spearman"])[:count]

    def as_json(self) -> dict[str, Any]:
        """The document of ``cam diff --format json``."""
        return {
            "images": len(self.changes),
            "changed_predictions": len(self.groups["changed prediction"]),
            "only_base": self.only_base,
            "only_new": self.only_new,
            "changed_content": self.changed_content,
            "precisions": None if self.precisions is None else dict(self.precisions),
            "notes": self.notes,
            "distances": {name: distribution(group) for name, group in self.groups.items()},
            "moved": [change_json(one) for one in self.largest_changes()],
        }


def judge_difference(run: RecordedRun, key: MethodLayer, suite: Suite, changes: list[MapChange]) -> Result:
    """The outcome of the check ``drift`` for images that were compared already, with the thresholds of a suite."""
    with ReopenedModel(run, key) as reopened:
        context = Context(run, key, suite.settings["drift"], suite.common, ManifestRegions(run), reopened)
        return replace(judge_changes(context, changes, ""), required="drift" in suite.required)


def difference(base: Baseline, run: RecordedRun, key: MethodLayer) -> Difference:
    """Compare a run with a baseline or another run.

    Raises:
        ConfigError: they have no image in common.
    """
    matched = base.matching(run)
    changes = compare(run, key, matched)
    common = sum(matched.find(record) is not None for record in run.images)
    if not common:
        raise ConfigError(f"{base.name} and {run.path} have no image in common, neither by content nor by name.")
    notes = [line for line in base.differences(run, key) if "images are not in" not in line]
    if base.header["layer"] != key[1]:
        notes.append(f"layer: {base.header['layer']} → {key[1]}")
    if changed := base.changed(run):
        count = f"{len(changed)} image{'s have' if len(changed) > 1 else ' has'}"
        notes.append(
            f"{count} the same name and other content ({changed[0].image} first): compared by name, so the distances "
            "are due to the images as well"
        )
    precisions = base.precisions(run)
    if precisions is not None:
        notes.append(precision_words(precisions))
    return Difference(changes, base.size - common, len(run.images) - common, notes, len(changed), precisions)


def distribution(group: Sequence[MapChange]) -> Mapping[str, Any] | None:
    """5th percentile, median and 95th percentile of each distance; None without images."""
    if not group:
        return None
    statistics: dict[str, Any] = {"n": len(group)}
    for name, values in distances_by_metric(list(group)).items():
        low, middle, high = np.percentile(values, PERCENTILES)
        statistics[name] = {"p05": float(low), "median": float(middle), "p95": float(high)}
    return statistics


def change_json(one: MapChange) -> dict[str, Any]:
    """One image with its distances and both predictions."""
    return {
        "image": one.record.image,
        "source": one.record.source,
        "base_prediction": one.base.predicted_name or one.base.predicted,
        "new_prediction": one.record.predicted_name or one.record.predicted,
        **one.distances,
    }
