"""The checks find what was planted, and nothing where nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camcli.checks import Result, check_run, write_baseline
from camcli.checks.recorded import read_run

from .conftest import LAYER, World
from .handmade import only
from .shapes import CLASSES, MARK, MARKED, SIZE

PLACE = "avoid.box=" + ",".join(str(edge / SIZE) for edge in MARK)


def check(run: Path, *changes: str, baseline: str | None = None) -> dict[str, Result]:
    return {result.check: result for result in check_run(str(run), changes=changes, baseline=baseline)}


def statuses(results: dict[str, Result], names: Sequence[str]) -> list[str]:
    return [results[name].status for name in names]


def framed(world: World) -> Path:
    # In its last layer nothing but the frame moves anything, so that no layout can be verified; `--layout` is needed.
    return world.run("frame", "framed", layout="nchw")


WHERE = ("foreground", "avoid", "shortcut")


def test_a_watermark_that_the_model_uses_fails_three_checks(world: World) -> None:
    found = check(world.run("watermark", "marked"), PLACE, *only(*WHERE))
    assert statuses(found, WHERE) == ["fail", "fail", "fail"], found
    assert "100 % of 'cross' carry the same patch at the top left" in found["shortcut"].why
    (shortcut,) = found["shortcut"].details["shortcuts"]
    np.testing.assert_allclose(shortcut["region"], np.array(MARK) / SIZE, atol=2.5 / SIZE)
    assert shortcut["without"] > 0.8
    assert shortcut["with"] > 0.8
    marked = {f"{i:03d}.png" for i in range(MARKED, 90, 3)}
    for name in WHERE:
        assert {one.image for one in found[name].worst} <= marked, f"{name} blames an image without the watermark"


def test_the_same_images_pass_for_a_model_that_uses_shapes(world: World) -> None:
    found = check(world.run("clean", "marked"), PLACE, *only(*WHERE))
    assert statuses(found, WHERE) == ["pass", "pass", "pass"], found


def test_the_default_suite_passes_for_a_good_model(world: World) -> None:
    found = check(world.run("clean", "plain", method="gradcam,reciprocam"))
    assert statuses(found, ("valid", "border", "focus", "foreground", "shortcut", "agree", "wrong")) == ["pass"] * 7
    assert statuses(found, ("avoid", "predictions", "drift")) == ["skipped"] * 3


def test_a_model_that_looks_at_the_frame_fails_border(world: World) -> None:
    found = check(framed(world), *only("border"))
    assert found["border"].status == "fail"
    assert found["border"].deciding is not None
    assert found["border"].deciding.value > 1.3
    assert check(world.run("clean", "plain"), *only("border"))["border"].status == "pass"


def test_a_frame_that_gives_the_class_is_a_shortcut(world: World) -> None:
    found = check(framed(world), *only("shortcut"))["shortcut"]
    assert found.status == "fail", found.why
    assert "along the edges" in found.why
    assert {one["class"] for one in found.details["shortcuts"] if one["decides"]} == set(CLASSES)


def test_drift_between_runs_of_one_model_and_of_two(world: World, tmp_path: Path) -> None:
    first = world.run("clean", "signed")
    baseline = str(tmp_path / "attention.baseline")
    write_baseline(baseline, read_run(first), ("gradcam", LAYER))
    again = world.run("clean", "signed", topk=2)
    same = check(again, *only("drift"), baseline=baseline)["drift"]
    assert same.status == "pass"
    assert same.n == 45
    floor = {one.name: one.value for one in same.conditions}
    assert floor["spearman median"] == floor["iou median"] == 1.0
    assert floor["jsd median"] < 1e-6
    assert floor["centroid median"] < 1e-6
    other = check(world.run("watermark", "signed"), *only("drift"), baseline=baseline)["drift"]
    assert other.status == "fail", "both models say cross, one because of the watermark"
    assert other.n > 30
