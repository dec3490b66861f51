"""``--against``: the same images in another run, with the distances that ``cam diff`` reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camcli.checks.baseline import baseline_of
from camcli.checks.diff import difference, distribution
from camcli.checks.recorded import RecordedRun, read_run
from camcli.config.parse import flag
from camcli.errors import ConfigError
from camcli.report.records import MethodLayer, Records
from camcli.report.rows import Row, open_rows

METRICS = ("spearman", "iou", "jsd", "centroid")


@dataclass(frozen=True)
class Earlier:
    """The other run.

    Attributes:
        name: of its folder, as typed.
        by_content, by_name: its rows; content first, as ``cam diff`` matches them.
        distances: of each image and source, by method and layer.
        summary: of all distances, notes on what differs between the runs, the options of the methods, and what its
            pictures were drawn with where that differs.
    """

    name: str
    by_content: Mapping[str, Row]
    by_name: Mapping[str, Row]
    distances: Mapping[tuple[str, str], Mapping[MethodLayer, Mapping[str, float]]]
    summary: Mapping[str, Any]

    def record(self, row: Row, records: Records) -> dict[str, Any] | None:
        """What the page has of the same image in the other run; None where that does not have it."""
        earlier = self.by_content.get(row.get("sha256") or "") or self.by_name.get(row["image"])
        if earlier is None or row["status"] != "ok":
            return None
        distances = self.distances.get((row["image"], row["source"]), {})
        return {
            "n": earlier["image"],
            "p": records.predictions(earlier),
            "m": [records.map(one) for one in earlier["maps"]],
            "v": [round(value, 1) for value in earlier["view"]],
            "d": {
                str(records.maps.number(key)): [round(values[metric], 4) for metric in METRICS]
                for key, values in distances.items()
            },
        }


def read_earlier(path: str, run: str) -> Earlier:
    """Read the other run and compare it with the one that is shown, map by map.

    Args:
        path: of the other run, the earlier one.
        run: the run folder that the gallery shows.

    Raises:
        UsageError: one of them is no finished run, or they have no image or no map in common.
    """
    base, new = read_run(path), read_run(run)
    rows = [row for row in open_rows(path) if row["status"] == "ok"]
    distances: dict[tuple[str, str], dict[MethodLayer, Mapping[str, float]]] = {}
    summary: dict[str, Any] = {
        "maps": {}, "notes": [], "options": list(base.header["config"].get("option") or ()),
        "drawing": drawing_differences(base.header["config"], new.header["config"]),
    }  # fmt: skip
    for key in new.keys:
        theirs = _same_map(base, key)
        if theirs is None:
            continue
        compared = difference(baseline_of(base, theirs), new, key)
        for one in compared.changes:
            distances.setdefault((one.record.image, one.record.source), {})[key] = one.distances
        summary["maps"]["\n".join(key)] = distribution(compared.changes)
        summary |= {"only_base": compared.only_base, "only_new": compared.only_new}
        summary["notes"] = list(dict.fromkeys([*summary["notes"], *compared.notes]))
    if not summary["maps"]:
        raise ConfigError(f"--against {path}: it has no map of a method of {run}. Run both with one method in common.")
    by_content = {row["sha256"]: row for row in reversed(rows)}
    return Earlier(path, by_content, {row["image"]: row for row in reversed(rows)}, distances, summary)


def drawing_differences(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings of the colours of two runs that differ, a line each: name, of the other run, of the one shown."""
    usual = {"colormap": "jet", "gamma": 1.0, "signed": False, "scale": "per-image", "scale_limits": {}}
    lines: list[str] = []
    for name, value in usual.items():
        theirs, ours = base.get(name) or value, new.get(name) or value
        if theirs != ours and not (name == "scale_limits" and lines and lines[-1].startswith("--scale ")):
            lines.append(f"{flag(name.removesuffix('_limits'))} {_words(theirs)} there, {_words(ours)} here")
    return lines


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{method} {low:.4g} to {high:.4g}" for method, (low, high) in value.items()) or "none"
    return str(value)


def _same_map(base: RecordedRun, key: MethodLayer) -> MethodLayer | None:
    """The maps of the other run by the same method, at the same layer if it has that."""
    same_method = [own for own in base.keys if own[0] == key[0]]
    return key if key in base.keys else next(iter(same_method), None)
