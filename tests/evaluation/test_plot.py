"""The bar plot of an evaluation: what is drawn, in which formats, and what is refused early."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import pytest

from camcli.errors import ConfigError, OutputError
from camcli.evaluation import Evaluation, MethodEntry
from camcli.evaluation.plot import FORMATS, draw, write_plot
from camcli.metrics import METRICS
from camcli.stats import Estimate

ENTRIES = (
    MethodEntry("gradcam", "a", False, "gradcam @ a"),
    MethodEntry("gradcam", "b", False, "b" * 60),
    MethodEntry("sobel", None, True, "sobel"),
)
SHOWN = ("deletion", "drop", "adcc", "entropy")
FIGURES = {
    entry.name: {key: Estimate(0.1 * place + 0.2, (0.1 * place, 0.1 * place + 0.3), 5) for key in SHOWN}
    for place, entry in enumerate(ENTRIES)
}


@pytest.fixture
def evaluation() -> Evaluation:
    figures = {name: dict(found) for name, found in FIGURES.items()}
    figures["gradcam @ a"]["adcc"] = Estimate(None, None, 0)
    return Evaluation(
        entries=ENTRIES, metrics=[METRICS[key] for key in SHOWN], images=["x.jpg"] * 5, failed=[], values={},
        degenerate={}, guarded={}, settings={"model": {"name": "resnet50"}}, figures=figures,
    )  # fmt: skip


def test_a_panel_shows_the_figures_of_every_row(evaluation: Evaluation) -> None:
    panels = draw(evaluation).axes
    shown = [panel for panel in panels if panel.axison]
    assert [panel.get_title("left") for panel in shown] == ["Deletion", "Average Drop %", "ADCC", "Entropy"]
    directions = ["← lower is better", "← lower is better", "higher is better →", "neither is better"]
    assert [panel.get_xlabel() for panel in shown] == directions
    deletion, adcc = shown[0], shown[2]
    assert [bar.get_width() for bar in deletion.patches] == pytest.approx([0.2, 0.3, 0.4])
    assert [bar.get_y() + bar.get_height() / 2 for bar in deletion.patches] == pytest.approx([0, 1, 2])
    whiskers = [line.get_xdata() for line in deletion.lines if line.get_marker() == "|"]
    assert [tuple(ends) for ends in whiskers] == [FIGURES[entry.name]["deletion"].interval for entry in ENTRIES]
    assert [text.get_text() for text in deletion.texts] == ["0.200", "0.300", "0.400"]
    assert [text.get_text() for text in adcc.texts] == ["no value", "0.300", "0.400"]
    assert len(adcc.patches) == 2
    assert [label.get_text() for label in deletion.get_yticklabels()] == [
        "gradcam @ a",
        f"{'b' * 15}…{'b' * 15}",
        "sobel",
    ]
    assert deletion.get_ylim()[0] > deletion.get_ylim()[1], "the first entry is at the top"


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_is_written_and_the_same_figures_give_the_same_file(
    evaluation: Evaluation, tmp_path: Path, extension: str
) -> None:
    starts = {".png": b"\x89PNG", ".webp": b"RIFF", ".pdf": b"%PDF", ".svg": b"<?xml"}
    first, second = tmp_path / "new" / f"a{extension}", tmp_path / f"b{extension}"
    before = dict(matplotlib.rcParams)
    write_plot(evaluation, first)
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "another"}):
        write_plot(evaluation, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(starts.get(extension, b"\xff\xd8"))
    assert b"Date" not in first.read_bytes()
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_extension_is_refused_with_the_list(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("plot.bmp", "plot"):
        with pytest.raises(ConfigError, match=rf"--plot .*{name}: .*\.png, \.jpg, \.jpeg, \.webp, \.pdf, \.svg"):
            write_plot(evaluation, tmp_path / name)


def test_without_matplotlib_the_extra_is_named(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ConfigError, match=r"matplotlib is not installed\. Install the extra 'plot': pip install matplotlib"
    ):
        write_plot(evaluation, tmp_path / "plot.png")


def test_a_place_that_cannot_be_written_is_an_error(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write --plot .*plot\.png: .* no folder stands in its way"):
        write_plot(evaluation, tmp_path / "file" / "plot.png")
