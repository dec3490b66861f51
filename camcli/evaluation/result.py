"""The result of an evaluation, as a JSON document and as a flat table."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from camcli.config.recommended import SCHEMA
from camcli.evaluation.comparison import Comparison, in_unit
from camcli.evaluation.cost import Cost
from camcli.evaluation.entries import MethodEntry
from camcli.metrics import Metric
from camcli.stats import Estimate, estimate

_COLUMNS = (
    "name", "method", "layer", "baseline", "metric", "better", "value", "low", "high", "n",
    "reference", "difference", "difference_low", "difference_high", "better_on", "cost", "passes", "milliseconds",
)  # fmt: skip
"""Of the flat table."""


@dataclass(frozen=True)
class Recommendation:
    """The method and layer that explain the model best on these images.

    Attributes:
        entry: which.
        why: the evidence, one line each.
    """

    entry: MethodEntry
    why: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """Figures of methods and baselines over images.

    Attributes:
        entries: methods, then baselines.
        metrics: those that have a figure.
        images: names of the images that count, in order.
        failed: image, kind and message of those that do not.
        values: by entry name, then metric: (N, K) per image (per mosaic for GridPG).
        degenerate: maps that show nothing, by entry name.
        guarded: images that leave Average Drop and Average Gain.
        settings: everything that decides a figure.
        notes: what a reader should know.
        recommended: with ``--recommend``.
        reference: the entry that all others are compared with.
        costs: of a map, by entry name.
    """

    entries: Sequence[MethodEntry]
    metrics: Sequence[Metric]
    images: Sequence[str]
    failed: Sequence[Mapping[str, str]]
    values: Mapping[str, Mapping[str, np.ndarray]]
    degenerate: Mapping[str, int]
    guarded: Mapping[str, int]
    settings: Mapping[str, Any]
    notes: Sequence[str] = ()
    recommended: Recommendation | None = None
    figures: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    reference: MethodEntry | None = None
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def against_reference(self, name: str, metric: str) -> Comparison | None:
        """An entry compared with the reference; None for the reference itself and for metrics that do not judge."""
        pair = {name, self.reference.name if self.reference else name}
        if len(pair) == 1:
            return None
        both = next((c for c in self.comparisons if c.metric == metric and {c.a, c.b} == pair), None)
        return both if both is None or both.a == name else both.reversed

    @property
    def methods(self) -> list[MethodEntry]:
        """The entries that are no baseline."""
        return [entry for entry in self.entries if not entry.baseline]

    @property
    def exit_code(self) -> int:
        """3 where an image could not be explained, else 0."""
        return 3 if self.failed else 0

    def as_json(self) -> dict[str, Any]:
        """The document of ``--json`` and of ``eval.json``."""
        return {
            "schema": SCHEMA,
            **self.settings,
            "images": len(self.images),
            "failed": list(self.failed),
            "guarded": dict(self.guarded),
            "metrics": [metric.as_json() for metric in self.metrics],
            "rows": [
                {
                    "name": entry.name,
                    "method": entry.method,
                    "layer": list(entry.layer) if isinstance(entry.layer, tuple) else entry.layer,
                    "baseline": entry.baseline,
                    "degenerate_maps": self.degenerate[entry.name],
                    "cost": self.costs[entry.name].text,
                    "passes": self.costs[entry.name].passes,
                    "figures": {m.key: _as_dict(self.figures[entry.name][m.key]) for m in self.metrics},
                }
                for entry in self.entries
            ],
            "comparisons": [
                {"metric": c.metric, "a": c.a, "b": c.b, "certain": c.certain, **_as_dict(c.estimate, "difference"),
                 "a_better": c.a_better, "b_better": c.b_better}
                for c in self.comparisons
            ],
            "reference": self.reference and self.reference.name,
            "timing": {"milliseconds": {entry.name: self.costs[entry.name].milliseconds for entry in self.entries}},
            "recommended": self.recommended and {
                "method": self.recommended.entry.method,
                "layer": self.recommended.entry.layer_path,
                "why": list(self.recommended.why),
            },
            "notes": list(self.notes),
            "items": [{"image": name, "values": self._item(i)} for i, name in enumerate(self.images)],
        }  # fmt: skip

    def _item(self, i: int) -> dict[str, dict[str, float | None]]:
        """The values of one image, where a metric has one number for an image."""
        single = [m.key for m in self.metrics if m.needs != "mosaics"]
        return {
            entry.name: {
                key: _finite(float(self.values[entry.name][key][i, 0]))
                for key in single
                if self.values[entry.name][key].shape[1] == 1
            }
            for entry in self.entries
        }

    def as_csv(self) -> str:
        """One line for every entry and metric; figures in the units of the table."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for entry in self.entries:
            for metric in self.metrics:
                result = self.figures[entry.name][metric.key]
                low, high = result.interval or ("", "")
                value = "" if result.value is None else result.value
                head = [
                    entry.name,
                    entry.method,
                    entry.layer_path or "",
                    str(entry.baseline).lower(),
                    metric.key,
                    metric.better,
                ]
                compared = self._reference_cells(entry, metric)
                cost = self.costs[entry.name]
                cells = [*compared, cost.text, cost.passes, cost.milliseconds]
                writer.writerow([*head, value, low, high, result.n, *("" if cell is None else cell for cell in cells)])
        return text.getvalue()

    def _reference_cells(self, entry: MethodEntry, metric: Metric) -> list[object]:
        """Reference, difference, its interval, and the share of images where the entry is better."""
        compared = self.against_reference(entry.name, metric.key)
        if compared is None:
            return [None] * 5
        low, high = compared.estimate.interval or (None, None)
        return [compared.b, compared.estimate.value, low, high, compared.a_better]


def among_entries(
    metric: Metric, entries: Sequence[MethodEntry], values: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The values of a metric that compares entries, (N, 1) by entry name; nothing for another metric."""
    if metric.across_rows is None:
        return {}
    methods = [entry.name for entry in entries if not entry.baseline]
    baselines = [entry.name for entry in entries if entry.baseline]
    own, theirs = ([values[name][metric.key][:, 0] for name in names] for names in (methods, baselines))
    compared = metric.across_rows(np.array(own), np.array(theirs))
    return {name: entry[:, None] for name, entry in zip([*methods, *baselines], chain(*compared), strict=True)}


def defined_values(
    figures: Mapping[str, Mapping[str, Estimate]], entries: Sequence[MethodEntry], metric: str
) -> dict[str, float]:
    """The figures of a metric by entry name, without the entries that have none."""
    values = {entry.name: figures[entry.name][metric].value for entry in entries}
    return {name: value for name, value in values.items() if value is not None}


def figure(values: np.ndarray, metric: Metric, seed: int) -> Estimate:
    """A metric's figure over images, in its unit."""
    return in_unit(estimate(values, metric.finish, seed), metric.factor)


def _as_dict(result: Estimate, value: str = "value") -> dict[str, Any]:
    return {value: result.value, "interval": list(result.interval) if result.interval else None, "n": result.n}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
