"""Changed predictions and accuracy against a baseline, and the maps of images whose prediction changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from camcli.checks import Result, check_run, read_baseline, read_run, write_baseline

from ..conftest import Outcome
from .handmade import blob, blobs, item, write_run

Cam = Callable[..., Outcome]
KEY = ("gradcam", "layer")


def run_of(folder: Path, predicted: list[int], labels: list[int | None] | None = None, moved: int = 0) -> Path:
    """A run whose images have these predictions and labels; the heat of the first ``moved`` is in a corner."""
    maps = blobs(len(predicted))
    labels = labels or [None] * len(predicted)
    items = [
        item(i, {"gradcam": blob(0.9, 0.1) if i < moved else maps[i]}, predicted=p, label=label)
        for i, (p, label) in enumerate(zip(predicted, labels, strict=True))
    ]
    return write_run(folder, items)


def against(base: Path, run: Path, *changes: str) -> dict[str, Result]:
    kept = str(base) + ".baseline"
    write_baseline(kept, read_run(base), KEY)
    return {one.check: one for one in check_run(str(run), changes=changes, baseline=kept)}


def test_predictions_pass_for_the_same_and_fail_for_many_changed(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", [0] * 58)
    same = against(base, base)["predictions"]
    assert same.status == "pass"
    assert same.details == {"compared": 58, "changed": 0, "labelled": 0, "accuracy": None}
    other = run_of(tmp_path / "other", [1] * 31 + [0] * 27, moved=31)
    found = against(base, other)
    assert found["predictions"].status == "fail"
    assert found["predictions"].deciding is not None
    assert found["predictions"].deciding.value == pytest.approx(31 / 58)
    assert "31 of 58 predictions changed" in found["predictions"].why
    assert found["predictions"].worst[0].words == "class 0 → class 1"
    assert against(base, other, "predictions.changed_max=0.9")["predictions"].status == "pass"
    few = run_of(tmp_path / "few", [1] * 3 + [0] * 55)
    assert against(base, few)["predictions"].status == "inconclusive"  # 5.2 %, the interval reaches over 5 %


def test_predictions_compare_accuracy_in_pairs(tmp_path: Path) -> None:
    labels: list[int | None] = [0] * 100
    base = run_of(tmp_path / "base", [0] * 90 + [1] * 10, labels)
    worse = run_of(tmp_path / "worse", [0] * 70 + [1] * 30, labels)
    fall = against(base, worse, "predictions.changed_max=false")["predictions"]
    assert fall.status == "fail"
    assert fall.details["accuracy"] == {"baseline": 0.9, "run": 0.7}
    assert fall.deciding is not None
    assert (fall.deciding.name, fall.deciding.value) == ("fall of accuracy", pytest.approx(0.2))
    better = against(worse, base, "predictions.changed_max=false")["predictions"]
    assert better.status == "pass"
    unlabelled = run_of(tmp_path / "unlabelled", [0] * 70 + [1] * 30)  # the baseline's labels are used
    assert against(base, unlabelled)["predictions"].details["accuracy"] == {"baseline": 0.9, "run": 0.7}


def test_the_accuracy_of_few_labelled_images_is_reported_and_not_judged(tmp_path: Path) -> None:
    labels: list[int | None] = [0] * 8 + [None] * 92
    base, worse = run_of(tmp_path / "base", [0] * 100, labels), run_of(tmp_path / "worse", [1] + [0] * 99, labels)
    found = against(base, worse)["predictions"]
    assert found.status == "pass"
    assert "accuracy of 8 labelled images 1.00 in the baseline, 0.88 now" in found.why


def test_a_baseline_without_labels_is_read_and_the_labels_of_the_run_are_used(tmp_path: Path) -> None:
    labels: list[int | None] = [0] * 40
    base = run_of(tmp_path / "base", [0] * 40)
    worse = run_of(tmp_path / "worse", [1] * 40, labels)
    kept = tmp_path / "old.baseline"
    write_baseline(str(kept), read_run(base), KEY)
    assert "label" not in kept.read_text()  # as every file was before labels were written
    assert next(iter(read_baseline(str(kept)).images.values())).correct is None
    assert against(base, worse)["predictions"].details["accuracy"] == {"baseline": 1.0, "run": 0.0}


def test_the_same_index_under_another_class_name_is_a_changed_prediction(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", [0] * 40)
    items: list[dict[str, Any]] = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))]
    for row in items:
        row["predictions"][0]["name"] = "class 9"
    assert against(base, write_run(tmp_path / "shuffled", items))["predictions"].details["changed"] == 40


def test_drift_judges_images_whose_prediction_changed_apart(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", [0] * 58)
    for changed in (10, 31, 58):  # however many change, the check is no weaker
        other = run_of(tmp_path / f"other{changed}", [1] * changed + [0] * (58 - changed), moved=changed)
        drift = against(base, other)["drift"]
        assert drift.status == "fail", changed
        assert drift.n == 58
        assert drift.deciding is not None
        assert drift.deciding.name.startswith("changed prediction: ")
        assert f"{changed} of 58 images, judged apart" in drift.why
    renamed = run_of(tmp_path / "renamed", [1] * 58)  # other predictions from the same maps
    assert against(base, renamed)["drift"].status == "pass"
    some = run_of(tmp_path / "some", [1] * 9 + [0] * 49, moved=9)
    drift = against(base, some)["drift"]
    assert drift.status == "pass"
    assert "9 of 58 images, too few to be judged apart" in drift.why
    few = run_of(tmp_path / "few_base", [0] * 6)
    halves = run_of(tmp_path / "few", [1] * 3 + [0] * 3, moved=3)
    assert against(few, halves)["drift"].status == "inconclusive"
    assert against(few, halves, "suite.min_images=5")["drift"].status == "fail"
