"""``--calibrate``: a suite whose thresholds a run that is known to be good passes, with room to spare.

For each statistic the threshold is put beyond the bad end of its interval, further out by the width of the interval
(at least 5 % of the value): another set of images of the same kind and size then passes. Rounded outwards. Checks that
were skipped or had too few images keep their thresholds, with a comment.
"""

import math
from collections.abc import Sequence
from typing import Any

from camcli.checks.judge import LIMIT, statistic_name
from camcli.checks.result import Condition, Result
from camcli.checks.suite import Suite
from camcli.output import strict_json


def calibrate_suite(results: Sequence[Result], suite: Suite, run: str) -> str:
    """The TOML of a suite with thresholds fitted to the results of a good run."""
    lines = [
        f"# Thresholds proposed by `cam check {run} --calibrate` from a run that is known to be good.",
        "# Look at them before you rely on them: each is only as good as that run.",
        "",
        "[suite]",
        *(_setting(key, value) for key, value in suite.common.items() if value is not None),
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
                lines.append(_setting(key, value))
                continue
            low, high = condition.ends
            lines.append(
                f"{key} = {_threshold(condition)}  # was {value:g}; measured {condition.value:.3g} "
                f"[{low:.3g} to {high:.3g}] on {condition.n} images"
            )
    return "\n".join(lines) + "\n"


def _setting(key: str, value: Any) -> str:
    return f"{key} = {strict_json(value).decode()}"


def _statistic(key: str) -> tuple[str, str]:
    """Name and side of the condition that a threshold makes; of another setting nothing."""
    match = LIMIT.fullmatch(key)
    return (statistic_name(match), match["side"]) if match else ("", "")


def _threshold(condition: Condition) -> float:
    low, high = condition.ends
    room = max(high - low, 0.05 * abs(condition.value))
    if condition.side == "max":
        return math.ceil((high + room) * 100) / 100
    return math.floor((low - room) * 100) / 100
