"""Runs the check on a case, and compares what it reports with the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.sweeps.shortcut_battery.marks import Box

COVERED = 0.5
"""Share of the mark that the reported region or patch must cover."""
LARGEST = 4.0
"""Largest area of the reported region or patch, in areas of the mark."""
SUITE = "[shortcut]\n"


@dataclass(frozen=True)
class Report:
    """One shortcut that the check reports, compared with the mark of its class."""

    class_name: str
    placement: str
    share: float
    without: float
    with_: float
    covers: float
    area: float

    @property
    def is_right(self) -> bool:
        return self.covers >= COVERED and self.area <= LARGEST


@dataclass(frozen=True)
class Verdict:
    """The result of a case.

    Attributes:
        is_valid: the truth of the case is as it was meant; others are not counted.
        reports: what the check reports; ``area`` is in areas of the mark.
        seconds: that the check took.
    """

    case: str
    half: str
    kind: str
    architecture: str
    is_planted: bool
    is_valid: bool
    accuracy: float
    effects: dict[str, dict[str, float]]
    status: str
    why: str
    seconds: float
    reports: list[Report] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        if self.is_planted:
            return self.status == "fail" and any(report.is_right for report in self.reports)
        return self.status != "fail"

    def line(self) -> str:
        """For the terminal."""
        result = ("right" if self.is_right else "WRONG") + ("" if self.is_valid else " (case not as meant)")
        places = "; ".join(
            f"{r.class_name} {r.placement}: covers {r.covers:.2f} of the mark, {r.area:.1f} times its area"
            for r in self.reports
        )
        return f"{self.case}: {result}: {self.status} in {self.seconds:.0f} s. {places} {self.why}"


def check_case(folder: Path, threads: int, changes: Sequence[str]) -> None:
    """Run the model of a case where it has not been run, and check the run; writes ``check.json``."""
    if not (folder / "run" / "index.json").exists():
        _cam(folder, threads, "run", "images", "-m", "factory:case_model:load", "-o", "run", "--save", "none", "-q")
    (folder / "suite.toml").write_text(SUITE)
    options = [part for change in changes for part in ("--set", change)]
    started = time.perf_counter()
    done = _cam(folder, threads, "check", "run", "--suite", "suite.toml", "--format", "json", *options)
    document = json.loads(done)
    document["seconds"] = round(time.perf_counter() - started, 1)
    (folder / "check.json").write_text(json.dumps(document, indent=1))


def _cam(folder: Path, threads: int, *words: str) -> str:
    root = Path(__file__).resolve().parents[3]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
    command = [sys.executable, "-m", "camcli", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{folder.name}: cam {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def judge_case(folder: Path) -> Verdict:
    """What the check said of a case, compared with its truth."""
    truth = json.loads((folder / "truth.json").read_text())
    document = json.loads((folder / "check.json").read_text())
    result = next(one for one in document["checks"] if one["check"] == "shortcut")
    reports = [_compare(truth, one) for one in (result.get("details") or {}).get("shortcuts", [])]
    return Verdict(
        case=truth["case"],
        half=truth["half"],
        kind=truth["kind"],
        architecture=truth["architecture"],
        is_planted=truth["planted"],
        is_valid=truth["valid"],
        accuracy=truth["accuracy"],
        effects=truth["effects"],
        status=result["status"],
        why=result["why"],
        seconds=document["seconds"],
        reports=reports,
    )


def _compare(truth: dict[str, Any], reported: dict[str, Any]) -> Report:
    """A reported shortcut beside the marks of its class; where there are none, nothing is covered."""
    marked = {
        name: [tuple(box) for box in row["boxes"]]
        for name, row in truth["images"].items()
        if row["boxes"] and name.split("/")[0] == reported["class"]
    }
    covers = area = 0.0
    # Each reported occurrence against the mark of its own image; in an image without a mark nothing is covered.
    overlaps = [
        max((_overlap(one["box"], box) for box in marked.get(one["image"], [])), default=(0.0, 0.0))
        for one in reported["occurrences"]
    ]
    if overlaps:
        covers, area = (float(np.median(values)) for values in zip(*overlaps, strict=True))
    numbers = (float(reported.get(key) or 0) for key in ("share", "without", "with"))
    return Report(reported["class"], reported["placement"], *numbers, covers, area)


def _overlap(region: Sequence[float], box: Box) -> tuple[float, float]:
    """The share of the box that the region covers, and the region's area in areas of the box."""
    width = max(0.0, min(region[2], box[2]) - max(region[0], box[0]))
    height = max(0.0, min(region[3], box[3]) - max(region[1], box[1]))
    own = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / own, (region[2] - region[0]) * (region[3] - region[1]) / own


def write_table(verdicts: Sequence[Verdict]) -> str:
    """Markdown: both halves by kind, and every case."""
    counted = [verdict for verdict in verdicts if verdict.is_valid]
    text = []
    for half, title in (("tune", "Half used for tuning"), ("report", "Half reported")):
        own = [verdict for verdict in counted if verdict.half == half]
        if own:
            text += [f"## {title}", "", *_by_kind(own), "", *_by_case(own), ""]
    left_out = [verdict.case for verdict in verdicts if not verdict.is_valid]
    if left_out:
        text += [f"Not counted, since the model did not become what was meant: {', '.join(left_out)}.", ""]
    return "\n".join(text)


def _by_kind(verdicts: Sequence[Verdict]) -> list[str]:
    rows = []
    for is_planted, title, word in ((True, "Planted", "reported, right place"), (False, "Clean", "no failure")):
        own = [verdict for verdict in verdicts if verdict.is_planted == is_planted]
        if not own:
            continue
        rows += [f"| {title} | cases | {word} |", "|---|---|---|"]
        for kind in dict.fromkeys(verdict.kind for verdict in own):
            same = [verdict for verdict in own if verdict.kind == kind]
            rows.append(f"| {kind} | {len(same)} | {sum(verdict.is_right for verdict in same)} |")
        right = sum(verdict.is_right for verdict in own)
        rows += [f"| **all** | {len(own)} | {right} ({100 * right / len(own):.0f} %) |", ""]
    return rows[:-1]


def _by_case(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [
        "| case | architecture | accuracy | mark: without, with (truth) | status | reported: without, with "
        "| mark covered | area / mark | s | right |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in verdicts:
        truth = "; ".join(_changes(e["without"], e["with"]) for e in one.effects.values()) or "–"
        reported = "; ".join(_changes(r.without, r.with_) for r in one.reports) or "–"
        covers = "; ".join(f"{100 * r.covers:.0f} %" for r in one.reports) or "–"
        areas = "; ".join(f"{r.area:.1f}" for r in one.reports) or "–"
        rows.append(
            f"| {one.case} | {one.architecture} | {one.accuracy:.3f} | {truth} | {one.status} | {reported} "
            f"| {covers} | {areas} | {one.seconds:.0f} | {'yes' if one.is_right else '**no**'} |"
        )
    return rows


def _changes(fall: float, rise: float) -> str:
    """Both changes of the probability with their signs; 0 has none."""
    return ", ".join(f"{change:+.2f}".replace("-", "−") if abs(change) >= 0.005 else "0" for change in (-fall, rise))
