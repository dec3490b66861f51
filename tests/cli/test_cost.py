"""Slow methods say what they cost before they begin, and after the first batch how long they will take."""

from pathlib import Path

from camcli.cli.cost import remaining_line
from tests.conftest import TINY, Cam


def test_a_slow_method_says_its_passes_and_an_estimate(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    flags = ("--method", "rise,gradcam", "--option", "rise.masks=150", "--batch-size", "2", "--save", "none")
    done = tiny(photos, "--output-dir", tmp_path / "out", *flags)
    assert done.code == 0
    lines = done.err.splitlines()
    assert "cost     rise: about 150 passes of the model an image, 6 images: 900 in all" in lines
    assert sum("passes of the model" in line for line in lines) == 1
    estimates = [line for line in lines if line.startswith("the first 2 images took ")]
    assert len(estimates) == 1
    assert "; the other 4 will take " in estimates[0]
    again = tiny(photos, "--output-dir", tmp_path / "quiet", *flags, "--quiet")
    assert (again.code, again.err) == (0, "")


def test_an_evaluation_says_them_for_all_images(cam: Cam, photos: Path) -> None:
    flags = ("--method", "rise", "--option", "rise.masks=100", "--metrics", "sparsity", "--no-baselines")
    done = cam("eval", photos, *TINY, *flags)
    assert done.code == 0
    assert "cost     rise: about 100 passes of the model an image, 6 images: 600 in all" in done.err.splitlines()


def test_usual_methods_and_few_passes_say_nothing(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    flags = ("--method", "rise,gradcam,scorecam", "--option", "rise.masks=20", "--save", "none", "--limit", "1")
    assert "passes of the model" not in tiny(photos, "--output-dir", tmp_path / "out", *flags).err


def test_the_targets_of_a_run_count(tiny: Cam, photos: Path) -> None:
    flags = ("--method", "opticam", "--target", "top:2", "--dry-run")
    assert (
        "cost     opticam: about 200 passes of the model an image, 6 images: 1,200 in all" in tiny(photos, *flags).out
    )


def test_durations_are_in_fitting_units() -> None:
    few = "the first 12 images took less than 1 s; the other 16 will take less than 1 s"
    assert remaining_line(0.2, 12, 16) == few
    assert remaining_line(12.4, 1, 4) == "the first image took 12 s; the other 4 will take about 50 s"
    assert remaining_line(60, 12, 120) == "the first 12 images took 60 s; the other 120 will take about 10 min"
    assert remaining_line(120, 12, 1200) == "the first 12 images took 2 min; the other 1,200 will take about 3.3 h"
