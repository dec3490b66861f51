"""The documented cost of a method as a number."""

import pytest

from camcli.methods import METHODS
from camcli.methods.cost import MANY_PASSES, count_passes


@pytest.mark.parametrize(
    ("cost", "passes"),
    [
        ("F", 1), ("F+B", 2), ("F+2B", 3), ("F+B+32F", 34), ("(K+1)F", 2049), ("F+K T", 2049), ("10K F", 20480),
        ("F+n T", 50), ("50(F+B)", 100), ("1000F", 1000), ("4F+4B", 8), ("F+B to the input", 2),
    ],
)  # fmt: skip
def test_the_passes_of_a_cost(cost: str, passes: int) -> None:
    assert count_passes(cost, channels=2048, cells=49) == passes


def test_every_method_has_a_cost_that_counts_and_the_slow_ones_are_known() -> None:
    settings = {key: {one.key: one.default for one in method.options} for key, method in METHODS.items()}
    slow = {
        key
        for key, method in METHODS.items()
        if count_passes(method.cost_with(settings[key]), channels=512, cells=49) >= MANY_PASSES
    }
    assert slow == {"scorecam", "sscam", "iscam", "ablationcam", "opticam", "rise"}
