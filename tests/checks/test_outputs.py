"""Suites, baselines, JUnit, annotations, calibration, the sheet."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from camcli.checks import (
    Result,
    baseline_of,
    check_run,
    load_suite,
    read_baseline,
    read_run,
    run_checks,
    write_baseline,
)
from camcli.checks.baseline import MOST_CELLS, reduce_map
from camcli.checks.calibrate import calibrate_suite, propose_threshold
from camcli.checks.diff import difference
from camcli.checks.report.text import github
from camcli.checks.result import Condition, WorstImage
from camcli.checks.settings import Setting
from camcli.errors import ConfigError

from .handmade import blob, blobs, item, write_run

KEY = ("gradcam", "layer")


def results() -> list[Result]:
    bad = Condition("median", 1.62, "max", 1.3, (1.5, 1.75), 40, "fail")
    worst = (WorstImage("a\x00b & <c>.jpg", "photos", 2.1, "heat 2.1"),)
    return [
        Result("valid", "pass", "all 40 maps show something", n=40),
        Result("border", "fail", "median 1.62: 100 %\nsecond line", (bad,), 40, worst),
        Result("agree", "warn", "they differ", n=40),
        Result("focus", "inconclusive", "too few", n=4),
        Result("avoid", "skipped", "no region"),
    ]


def test_github_annotations_stay_on_one_line_each() -> None:
    lines = github(results(), "out")
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::notice"]
    assert all("\n" not in line for line in lines)
    assert "100 %25%0Asecond line" in lines[0]
    assert lines[0].startswith("::error title=cam check border%3A fail::")


def test_a_suite_of_a_file_with_changes_over_it(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text("[suite]\nmin_images = 7\n[border]\nmedian_max = 1.1\np95_max = false\n[focus]\nenabled = false\n")
    suite = load_suite(str(path), ["border.warn=true", "avoid.box=0,0,1,0.1"])
    assert list(suite.settings) == ["border", "avoid"]
    assert suite.common["min_images"] == 7
    assert suite.settings["border"] == {
        "enabled": True, "min_images": None, "warn": True, "median_max": 1.1, "p95_max": None,
    }  # fmt: skip
    assert suite.settings["avoid"]["box"] == "0,0,1,0.1"
    assert "stable" not in load_suite().settings
    assert "stable" in load_suite(None, ["stable.images=4"]).settings


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("bordr.median_max=1", "Did you mean border"),
        ("border.median=1", "Did you mean median_max"),
        ("border.median_max=high", "must be a number"),
        ("border.min_images=1.5", "must be a whole number"),
        ("border.enabled=1", "must be true or false"),
        ("shortcut.share=false", "must be a number"),
        ("hotspot.share=0.4", "replaced by 'shortcut'"),
        ("focus.median_max=1.02", "outside of its range: 0 to 1"),
        ("avoid.median_max=-1", "outside of its range: at least 0"),
        ("border", "CHECK.KEY=VALUE"),
    ],
)
def test_a_wrong_change_is_named(change: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_suite(None, [change])


def test_a_baseline_is_small_and_complete(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(100))]))
    path = tmp_path / "attention.baseline"
    size = write_baseline(str(path), run, KEY)
    assert size == path.stat().st_size
    assert size / 100 < 500
    known = read_baseline(str(path))
    assert known.differences(run, KEY) == []
    for record in run.images:
        found = known.find(record)
        assert found is not None
        assert found.raw is not None
        np.testing.assert_array_equal(found.raw, record.maps[KEY].raw)
    large = reduce_map(np.random.default_rng(0).random((32, 24)).astype(np.float32))
    assert large.size <= MOST_CELLS


def test_a_baseline_of_something_else_says_what_differs(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(10))]
    run = read_run(write_run(tmp_path / "run", items))
    path = str(tmp_path / "b")
    write_baseline(path, run, KEY)
    known = read_baseline(path)
    fewer = read_run(write_run(tmp_path / "fewer", items[:8]))
    assert known.differences(fewer, KEY) == ["2 of the baseline's 10 images are not in the run"]
    model = {**run.header["model"], "mean": [0.0], "weights_sha256": "1" * 64}
    other = read_run(write_run(tmp_path / "other", items, model=model))
    assert known.differences(other, KEY) == ["mean: [0.5] → [0.0]"]  # other weights are what drift is for
    for text in ("", "{}", "not json"):
        Path(path).write_text(text)
        with pytest.raises(ConfigError, match="baseline"):
            read_baseline(path)


def test_a_baseline_of_another_precision_is_compared_and_said_to_be_one(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))]
    environments = [{"precision": "bf16", "device": "cuda:1"}, {"precision": "fp32", "device": "cpu"}, None]
    runs = [
        read_run(write_run(tmp_path / str(number), items, **({"environment": one} if one else {})))
        for number, one in enumerate(environments)
    ]
    gpu, cpu, old = runs
    path = str(tmp_path / "b")
    write_baseline(path, gpu, KEY)
    baseline = read_baseline(path)
    assert (baseline.header["precision"], baseline.header["device"]) == ("bf16", "cuda")
    assert baseline.differences(cpu, KEY) == []
    drift = load_suite(None, ["drift.enabled=true"])
    for run, precisions in ((cpu, {"base": "bf16 on cuda", "new": "fp32 on cpu"}), (gpu, None), (old, None)):
        result = next(one for one in run_checks(run, drift, baseline) if one.check == "drift")
        assert result.status == "pass"
        assert result.details.get("precisions") == precisions
        assert ("The baseline is of bf16 on cuda, the run of fp32 on cpu" in result.why) == (precisions is not None)
        assert difference(baseline, run, KEY).precisions == precisions
    lines = Path(path).read_text().splitlines()
    header = {key: value for key, value in json.loads(lines[0]).items() if key not in ("precision", "device")}
    Path(path).write_text("\n".join([json.dumps(header), *lines[1:]]))
    result = next(one for one in run_checks(cpu, drift, read_baseline(path)) if one.check == "drift")
    assert (result.status, "bf16" in result.why) == ("pass", False)


def test_images_of_one_name_and_other_content_are_said(tmp_path: Path) -> None:
    items = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(10))]
    base = baseline_of(read_run(write_run(tmp_path / "base", items)), KEY)
    others = [{**one, "sha256": f"{i:02d}" + "f" * 62} if i in (3, 7) else one for i, one in enumerate(items)]
    new = read_run(write_run(tmp_path / "new", others))
    found = difference(base, new, KEY)
    assert (len(found.changes), found.changed_content, found.only_base, found.only_new) == (10, 2, 0, 0)
    assert any(
        note.startswith("2 images have the same name and other content (003.jpg first): compared by name")
        for note in found.notes
    )
    first = base.differences(new, KEY)[0]
    assert first.startswith("2 of the run's 10 images are not in the baseline")
    assert first.endswith("(2 have a name that is, with other content: 003.jpg first)")
    same = difference(base, read_run(write_run(tmp_path / "same", items)), KEY)
    assert (same.changed_content, same.notes) == (0, [])


def test_a_calibrated_suite_lets_the_good_run_pass_and_a_worse_one_not(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(60))])
    suite = load_suite(None, ["border.median_max=0.01", "border.p95_max=0.01", "focus.enabled=true"])
    first = run_checks(read_run(good), suite)
    assert {one.check: one.status for one in first}["border"] == "fail"
    path = tmp_path / "calibrated.toml"
    path.write_text(calibrate_suite(first, suite, str(good)), encoding="utf-8")
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert document["focus"]["median_min"] < document["focus"]["median_max"] < 0.97
    again = {one.check: one.status for one in check_run(str(good), suite=str(path))}
    assert again["border"] == again["focus"] == "pass"
    others = write_run(tmp_path / "others", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(60, seed=5))])
    assert {r.status for r in check_run(str(others), suite=str(path)) if r.check in ("border", "focus")} == {"pass"}
    worse = write_run(tmp_path / "worse", [item(i, {"gradcam": blob(0.5, 0.95)}) for i in range(60)])
    assert {one.check: one.status for one in check_run(str(worse), suite=str(path))}["border"] == "fail"


@pytest.mark.parametrize(
    ("side", "value", "interval", "setting", "proposed"),
    [
        ("max", 0.98, (0.97, 0.984), Setting(0.97, "", low=0, high=1), 0.992),  # 0.984 + 0.049 lies outside
        ("max", 1.0, (0.99, 1.0), Setting(0.97, "", low=0, high=1), None),
        ("max", 1.2, (1.1, 1.3), Setting(1.2, "", low=0), 1.5),  # no end: the width of the interval beyond it
        ("min", -0.98, (-0.99, -0.97), Setting(0.4, "", low=-1, high=1), -0.995),
        ("min", 0.0, (0.0, 0.1), Setting(0.7, "", low=0), None),
        ("min", 0.9, (0.88, 0.92), Setting(0.8, "", low=-1, high=1), 0.83),
    ],
)
def test_a_proposed_threshold_lies_within_its_range_and_can_fail(
    side: Literal["min", "max"], value: float, interval: tuple[float, float], setting: Setting, proposed: float | None
) -> None:
    condition = Condition("median", value, side, setting.default, interval, 40, "fail")
    assert propose_threshold(condition, setting) == (None if proposed is None else pytest.approx(proposed))


def test_a_suite_calibrated_from_even_maps_still_fails_them(tmp_path: Path) -> None:
    even = write_run(tmp_path / "even", [item(i, {"gradcam": m + 5}) for i, m in enumerate(blobs(40))])
    suite = load_suite(None, ["focus.enabled=true"])
    path = tmp_path / "calibrated.toml"
    path.write_text(calibrate_suite(run_checks(read_run(even), suite), suite, str(even)), encoding="utf-8")
    focus = tomllib.loads(path.read_text(encoding="utf-8"))["focus"]
    assert 0 < focus["median_min"] < focus["median_max"] < 1
    flat = [item(i, {"gradcam": m + 100}) for i, m in enumerate(blobs(40))]
    found = check_run(str(write_run(tmp_path / "flat", flat)), suite=str(path))
    assert {one.check: one.status for one in found}["focus"] == "fail"


def test_results_are_json_as_documented(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))])
    for result in check_run(str(run)):
        row = json.loads(json.dumps(result.as_json(), allow_nan=False))
        assert {"check", "status", "value", "threshold", "interval", "n", "worst", "why"} <= set(row)


def test_the_sheet_names_its_format(tmp_path: Path) -> None:
    from camcli.checks.report.contact_sheet import SheetRow, write_sheet

    tile = ([np.zeros((20, 40, 3), np.uint8)], "a very long name that does not fit below its picture.jpg\nvalue")
    for name in ("s.jpg", "s.png", "s.webp"):
        write_sheet(str(tmp_path / name), [SheetRow("border: fail", [tile, tile]), SheetRow("focus: pass", [tile])])
        with Image.open(tmp_path / name) as sheet:
            assert sheet.width >= 2 * 224
    with pytest.raises(ConfigError, match=r"\.png"):
        write_sheet(str(tmp_path / "s.gif"), [])
