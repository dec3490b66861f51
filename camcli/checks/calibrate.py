"""``--calibrate``: a suite whose thresholds a run that is known to be good passes, with room to spare.

For each statistic the threshold is put beyond the bad end of its interval, further out by the width of the interval
(at least 5 % of the value): another set of images of the same kind and size then passes. Rounded outwards. It is put at
most half-way to the end of the value's range, so that the check remains able to fail. Checks that were skipped or had
too few images keep their thresholds, with a comment, and so does a threshold whose values reach the end of their range.
"""

import math
from collections.abc import Sequence
from typing import Any

from camcli.checks.judge import LIMIT, statistic_name
from camcli.checks.registry import CHECKS
from camcli.checks.result import Condition, Result
from camcli.checks.settings import Setting
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
            measured_words = f"measured {condition.value:.3g} [{low:.3g} to {high:.3g}] on {condition.n} images"
            proposed = propose_threshold(condition, CHECKS[result.check].settings[key])
            if proposed is None:
                end = "no threshold lets this run pass and can still fail another"
                lines.append(f"{key} = {value:g}  # not calibrated; {measured_words}: {end}")
            else:
                lines.append(f"{key} = {proposed}  # was {value:g}; {measured_words}")
    return "\n".join(lines) + "\n"


def _setting(key: str, value: Any) -> str:
    return f"{key} = {strict_json(value).decode()}"


def _statistic(key: str) -> tuple[str, str]:
    """Name and side of the condition that a threshold makes; of another setting nothing."""
    match = LIMIT.fullmatch(key)
    return (statistic_name(match), match["side"]) if match else ("", "")


def propose_threshold(condition: Condition, setting: Setting) -> float | None:
    """A threshold beyond the bad end of the interval and within the range; None where the interval reaches its end."""
    sign = 1 if condition.side == "max" else -1
    low, high = condition.ends
    # Upwards is the bad direction from here on; of a least value everything is mirrored.
    end, limit = (high, setting.high) if sign > 0 else (-low, -setting.low)
    room = max(high - low, 0.05 * abs(condition.value))
    proposed = math.ceil((end + room) * 100) / 100
    if math.isfinite(limit):
        half = float(f"{(end + limit) / 2:.6g}")
        if not end < half < limit:
            return None
        proposed = min(proposed, half)
    return sign * proposed
