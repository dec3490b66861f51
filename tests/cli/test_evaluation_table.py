"""The readable form of ``cam eval``, and its help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from camcli.cli import app
from camcli.cli.evaluation_table import print_evaluation
from camcli.evaluation import Evaluation, MethodEntry
from camcli.evaluation.comparison import Comparison
from camcli.evaluation.cost import Cost
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
        costs={"gradcam": Cost("F+B", 2, 12.3), "fakecam": Cost()}, reference=ENTRIES[0],
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


def test_the_table_leads_with_the_difference_to_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    entries = [MethodEntry(name, "a", False, name) for name in ("gradcam", "worst", "best", "like")]
    entries.append(MethodEntry("random", None, True, "random"))
    values = {"gradcam": 0.3, "worst": 0.1, "best": 0.5, "like": 0.31, "random": 0.0}
    differences = {"worst": (0.19, 0.21), "best": (-0.25, -0.15), "like": (-0.03, 0.01), "random": (0.2, 0.4)}
    print_evaluation(
        Evaluation(
            entries=entries, metrics=[METRICS["ins-del"]], images=["x.jpg"] * 40, failed=[], values={}, degenerate={},
            guarded={}, settings={"model": {"name": "resnet50"}, "settings": {"steps": 8, "substrate": None}},
            figures={name: {"ins-del": Estimate(value, None, 40)} for name, value in values.items()},
            comparisons=[
                Comparison("ins-del", "gradcam", name, Estimate(0.3 - values[name], interval, 40), 0.125, 0.875)
                for name, interval in differences.items()
            ],
            reference=entries[0],
            costs=dict.fromkeys(values, Cost("7F", 1234, 1234.5)) | {"random": Cost()},
        ),
        quiet=True,
    )  # fmt: skip
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].rstrip() == "Insertion − Deletion ↑, image by image against gradcam"
    assert [" ".join(line.split()) for line in lines[1:7]] == [
        "difference better on Insertion − Deletion passes ms an image",
        "best +0.200 [+0.150, +0.250] better 88 % 0.50 1,234 1,234",
        "like +0.010 [−0.010, +0.030] not told apart 88 % 0.31 1,234 1,234",
        "gradcam reference – 0.30 1,234 1,234",
        "worst −0.200 [−0.210, −0.190] worse 88 % 0.10 1,234 1,234",
        "random −0.300 [−0.400, −0.200] worse 88 % 0.00 – –",
    ]


def test_the_help_names_every_metric() -> None:
    shown = CliRunner().invoke(app, ["eval", "--help"], env={"COLUMNS": "400"}).output
    listed = shown.split("Figures to compute: ")[1].split("; or all")[0]
    for group in ("(faithfulness)", "(localisation)", "(complexity)"):
        assert group in listed
        listed = listed.replace(group, "")
    assert listed.replace(";", ",").replace(" ", "").split(",") == list(METRICS)
