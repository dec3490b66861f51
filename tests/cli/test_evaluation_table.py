"""The readable form of ``cam eval``, and its help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from camcli.cli import app
from camcli.cli.evaluation_table import print_evaluation
from camcli.evaluation import Evaluation, MethodEntry
from camcli.metrics import METRICS
from camcli.stats import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRIES = (MethodEntry("gradcam", "a", False, "gradcam"), MethodEntry("fakecam", None, True, "fakecam"))


def evaluation(figures: Mapping[str, tuple[float, float]]) -> Evaluation:
    return Evaluation(
        entries=ENTRIES, metrics=[METRICS[key] for key in figures], images=["x.jpg"] * 40, failed=[], values={},
        degenerate={}, guarded={},
        settings={"model": {"name": "resnet50"}, "settings": {"steps": 8, "substrate": None}},
        figures={
            entry.name: {key: Estimate(values[place], None, 40) for key, values in figures.items()}
            for place, entry in enumerate(ENTRIES)
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "warned"),
    [
        ({"drop": (20.0, 1.0)}, True),
        ({"drop": (1.0, 20.0)}, False),
        ({"adcc": (0.2, 0.8)}, False),
        ({"adcc": (0.2, 0.8), "drop": (20.0, 1.0)}, True),
    ],
)
def test_a_baseline_that_leads_by_construction_is_pointed_at(
    figures: dict[str, tuple[float, float]], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_evaluation(evaluation(figures), quiet=False)
    words = " ".join(capsys.readouterr().out.split())
    assert ("fakecam has the best Average Drop % by construction" in words) == warned


def test_the_help_names_every_metric() -> None:
    shown = CliRunner().invoke(app, ["eval", "--help"], env={"COLUMNS": "400"}).output
    listed = shown.split("Figures to compute: ")[1].split("; or all")[0]
    for group in ("(faithfulness)", "(localisation)", "(complexity)"):
        assert group in listed
        listed = listed.replace(group, "")
    assert listed.replace(";", ",").replace(" ", "").split(",") == list(METRICS)
