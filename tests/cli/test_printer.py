"""What a run prints: a line for each of a few images, a table by class for many, and the next command."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from camcli.cli.class_summary import ClassSummary
from camcli.cli.options import OutputMode
from camcli.cli.printer import Printer
from camcli.cli.setup_lines import Description
from camcli.cli.streams import error_block
from camcli.config.settings import RunConfig
from camcli.images import Entry, Sources

from ..conftest import Outcome

Cam = Callable[..., Outcome]


def row(index: int, probability: float | None = 0.5, *, name: str | None = "cat", correct: bool | None = None) -> Any:
    return {
        "predictions": [{"index": index, "name": name, "probability": probability, "logit": 1.0}], "correct": correct,
    }  # fmt: skip


def many(photos: Path, copies: int = 4) -> Path:
    """Six photographs, some times."""
    for path in list(photos.iterdir()):
        for number in range(copies - 1):
            shutil.copy(path, photos / f"{path.stem}-{number}.png")
    return photos


def test_a_few_images_have_a_line_each(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    out = tiny(photos, "--output-dir", tmp_path / "o").out
    assert all(f"{number}.png" in out for number in range(6))
    assert "top prediction" not in out


def test_many_images_are_summed_up_by_class(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    done = tiny(many(photos), "--output-dir", tmp_path / "o")
    assert "0.png" not in done.out
    table = done.out[done.out.index("top prediction") :].split("\n\n")[0].splitlines()
    assert sum(int(line[36:44]) for line in table[1:]) == 24  # the column of images


@pytest.mark.parametrize(("copies", "are_few"), [(1, True), (4, False)])
def test_the_inputs_are_listed_once(
    photos: Path, monkeypatch: pytest.MonkeyPatch, copies: int, *, are_few: bool
) -> None:
    """For the bar and for whether each has a line."""
    listings: list[Sources] = []
    listed = threading.Event()
    iterate = Sources.__iter__

    def listing(sources: Sources) -> Iterator[Entry]:
        listings.append(sources)
        yield from iterate(sources)
        listed.set()

    monkeypatch.setattr(Sources, "__iter__", listing)
    monkeypatch.setattr(Sources, "count", lambda _: pytest.fail("a second listing"))
    description = Description((), (), (), (), (), batch_size=2, drawn_by_itself=False)
    printer = Printer(OutputMode(quiet=False, verbose=False, json=False))
    with printer:
        printer.ready_elsewhere(RunConfig(image_path=(str(many(photos, copies)),)), description, ())
        assert listed.wait(60)
    assert (len(listings), printer.are_few) == (1, are_few)


def test_the_next_command_is_named(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "my run"
    assert f"next     cam report '{out}' --open" in tiny(photos, "--output-dir", out).out
    assert "cam report" not in tiny(photos, "--output-dir", tmp_path / "q", "--quiet").out


def test_nothing_is_proposed_where_every_image_failed(tiny: Cam, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image")
    done = tiny(tmp_path / "x.jpg", "--output-dir", tmp_path / "o")
    assert done.code == 3
    assert "--retry-failed" in done.out
    assert "next" not in done.out


def test_the_table_has_counts_means_and_labels() -> None:
    summary = ClassSummary()
    for one in (
        row(3, 0.5, correct=True),
        row(3, 0.7, correct=False),
        row(1, 0.9, name=None),
        row(2, None),
        {"predictions": [], "correct": None},
    ):
        summary.add(one)
    assert summary.lines()[0].startswith("top prediction ")
    assert summary.lines()[1].split() == ["cat", "2", "60.0", "%", "1", "of", "2"]
    assert summary.lines()[2].split() == ["class", "1", "1", "90.0", "%"]
    assert len(summary.lines()) == 3


def test_the_table_is_short() -> None:
    summary = ClassSummary()
    for index in range(25):
        summary.add(row(index, name=f"name {index:02}"))
    assert len(summary.lines()) == 12
    assert summary.lines()[-1] == "15 other classes of 15 images: see the index"
    assert ClassSummary().lines() == []


def test_a_progress_line_has_rate_rest_and_failures() -> None:
    printer = Printer(OutputMode(quiet=False, verbose=False, json=False))
    printer.total, printer.earlier, printer.done, printer.failed = 1000, 100, 300, 3
    printer.last = printer.started + 20
    assert printer._progress_line() == "300 of 1000 images, 10.0 images/s, about 70 s left, 3 failed"
    printer.total, printer.failed = None, 0
    assert printer._progress_line() == "300 images, 10.0 images/s"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_error_is_a_block_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    message = "cam: photos/a.jpg: the file ends within its pixels and cannot be read. Give --allow-truncated."
    assert error_block(message, io.StringIO()) == message
    assert error_block(message, _Terminal()).splitlines() == [
        "cam: photos/a.jpg: the file ends within its pixels and",
        "     cannot be read.",
        "     Give --allow-truncated.",
    ]
