"""``--calibrate``: a suite whose thresholds a run that is known to be good passes, with room to spare.

For each statistic the threshold is put beyond the bad end of its interval, further out by the width of the interval
(at least 5 % of the value): another set of images of the same kind and size then passes. Rounded outwards. Checks that
were skipped or had too few images keep their thresholds, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camcli.checks.judge import LIMIT
from camcli.checks.result import Condition, Result
from camcli.checks.suite import Suite
from camcli.output import strict_json, write_atomically


def write_calibrated(path: str, results: Sequence[Result], suite: Suite, run: str) -> None:
    """Write the suite.

    Raises:
        OutputError: the file cannot be written.
    """
    text = calibrate_suite(results, suite, run)
    write_atomically(Path(path), [text.encode("utf-8")])


def calibrate_suite(results: Sequence[Result], suite: Suite, run: str) -> str:
    """The TOML of a suite with thresholds fitted to the results of a good run."""
    lines = [
        f"# Thresholds proposed by `cam check {run} --calibrate` from a run that is known to be good.",
        "# Look at them before you rely on them: each is only as good as that run.",
        "",
        "[suite]",
        *_table(suite.common),
    ]
    for result in results:
        lines += ["", f"[{result.check}]"]
        measured: dict[tuple[str, str], Condition] = {
            (one.name, one.side): one
            for one in result.conditions
            if one.interval is not None and one.status != "inconclusive"
        }
        if not measured:
            lines.append(f"# not calibrated ({result.status}): {result.why.splitlines()[0]}")
        for key, value in suite.settings[result.check].items():
            condition = measured.get(_statistic(key))
            if value is None or key == "enabled":
                continue
            if condition is None:
                lines.append(f"{key} = {strict_json(value).decode()}")
                continue
            low, high = condition.interval or (condition.value, condition.value)
            lines.append(
                f"{key} = {_threshold(condition)}  # was {value:g}; measured {condition.value:.3g} "
                f"[{low:.3g} to {high:.3g}] on {condition.n} images"
            )
    return "\n".join(lines) + "\n"


def _table(settings: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {strict_json(value).decode()}" for key, value in settings.items() if value is not None]


def _statistic(key: str) -> tuple[str, str]:
    """Name and side of the condition that a threshold makes; of another setting nothing."""
    match = LIMIT.fullmatch(key)
    if match is None:
        return "", ""
    statistic = match["statistic"]
    words = statistic if not statistic.startswith("p") else f"{int(statistic[1:])}th percentile"
    return " ".join(part for part in (match["metric"], words) if part), match["side"]


def _threshold(condition: Condition) -> float:
    low, high = condition.interval or (condition.value, condition.value)
    room = max(high - low, 0.05 * abs(condition.value))
    if condition.side == "max":
        return math.ceil((high + room) * 100) / 100
    return math.floor((low - room) * 100) / 100
