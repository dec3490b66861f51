"""All cases: two halves with different marks, places, photographs and classes."""

from __future__ import annotations

from tests.sweeps.shortcut_battery.case import Case
from tests.sweeps.shortcut_battery.report import REPORT
from tests.sweeps.shortcut_battery.tune import TUNE


def _in_turn(cases: tuple[Case, ...]) -> list[Case]:
    """Planted and clean cases in turn, so that the first few are of both."""
    planted, clean = ([case for case in cases if case.is_planted == wanted] for wanted in (True, False))
    return [case for pair in zip(planted, clean, strict=True) for case in pair]


CASES = {case.name: case for half in (TUNE, REPORT) for case in _in_turn(half)}
