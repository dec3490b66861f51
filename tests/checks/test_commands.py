"""`cam check` and `cam diff` from end to end: exit codes, refusals, and everything they write."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..conftest import SAMPLES, Outcome
from .conftest import ROOT, World, installed
from .handmade import HEADER, blob, blobs, item, write_run

Cam = Callable[..., Outcome]
TINY = ("--model", "factory:tests.tiny:build", "--input-size", 64, "--batch-size", 2)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_run(tmp_path / "good", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))])


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """The same images, and the heat at their edge."""
    ring = np.pad(np.zeros((5, 5), np.float32), 1, constant_values=1.0)
    return write_run(tmp_path / "bad", [item(i, {"gradcam": ring + 0.01 * blob(0.5, 0.97)}) for i in range(40)])


def test_exit_codes_of_the_installed_command(cam: Cam, good: Path, bad: Path, tmp_path: Path) -> None:
    junit = tmp_path / "out.xml"
    passed = cam("check", good)
    assert passed.code == 0, passed.err
    failed = installed("check", bad, "--junit", junit)
    assert failed.returncode == 1, failed.stderr
    assert "heat at the edge" in failed.stdout
    assert ET.parse(junit).getroot().get("failures") == "1"
    wrong = cam("check", good, "--set", "bordr.median_max=1")
    assert wrong.code == 2
    assert "Did you mean border" in wrong.err
    moved = cam("diff", good, bad)
    assert moved.code == 1, moved.err


def test_what_makes_the_build_fail_can_be_chosen(cam: Cam, good: Path, bad: Path) -> None:
    assert cam("check", bad, "--fail-on", "never").code == 0
    assert cam("check", good, "--set", "suite.min_images=50").code == 0  # inconclusive
    assert cam("check", good, "--set", "suite.min_images=50", "--fail-on", "warn").code == 1
    assert cam("check", bad, "--set", "border.warn=true").code == 0
    assert cam("check", bad, "--set", "border.warn=true", "--fail-on", "warn").code == 1
    assert cam("check", bad, "--set", "border.enabled=false").code == 0
    assert cam("check", good, "--fail-on", "sometimes").code == 2


def test_a_run_that_is_made_for_the_check_and_its_exit_codes(cam: Cam, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted(SAMPLES.rglob("*.jpg"))[:4]):
        Image.open(path).resize((80, 80)).save(photos / f"{number}.png")
    loose = ("--set", "suite.min_images=2", "--set", "border.enabled=false", "--set", "focus.enabled=false")
    checked = cam("check", photos, *TINY, "--output-dir", tmp_path / "out", *loose, "--json")
    assert checked.code == 0, checked.err
    assert (tmp_path / "out" / "index.json").is_file()
    assert checked.document["status"] == "inconclusive"  # shortcut: no class has enough images
    (photos / "broken.png").write_bytes(b"not an image")
    partly = cam("check", photos, *TINY, "--output-dir", tmp_path / "partly", *loose)
    assert partly.code == 3
    assert "1 could not be explained" in partly.out
    assert cam("check", tmp_path / "out", "--method", "layercam").code == 2
    assert cam("check", tmp_path / "nowhere", *TINY).code == 2
    assert cam("check").code == 2


def test_a_mask_that_cannot_be_used_is_an_error_that_names_the_file(cam: Cam, good: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "objects.csv"
    manifest.write_text("image,mask\n" + "".join(f"{i:03d}.jpg,object.png\n" for i in range(40)), encoding="utf-8")
    asked = ("check", good, "--set", f'suite.manifest="{manifest}"')
    Image.new("L", (10, 20), 255).save(tmp_path / "object.png")
    shape = cam(*asked)
    assert shape.code == 2
    assert "object.png has 10×20 pixels and its image 70×70: the shapes differ" in shape.err
    (tmp_path / "object.png").write_bytes(b"nothing")
    damaged = cam(*asked)
    assert damaged.code == 2
    assert "object.png: cannot be read" in damaged.err


def test_json_is_one_document_on_stdout(cam: Cam, bad: Path) -> None:
    found = cam("check", bad, "--json")
    document = found.document
    assert (found.code, document["exit_code"], document["status"]) == (1, 1, "fail")
    border = next(row for row in document["checks"] if row["check"] == "border")
    assert border["status"] == "fail"
    assert border["value"] > border["threshold"] == 1.3
    assert border["interval"][0] > 1.3
    assert border["n"] == 40
    assert len(border["worst"]) == 6
    assert {"image", "value"} <= set(border["worst"][0])
    assert cam("check", bad, "--format", "json").document == document


def test_the_table_says_what_failed_by_how_much_and_where(cam: Cam, bad: Path) -> None:
    out = cam("check", bad).out
    assert "heat at the edge (1: spread evenly): median 2.0" in out
    assert "should be at most 1.30" in out
    assert "border: worst images" in out
    assert "000.jpg" in out
    assert "attention checks: 1 failed" in out
    assert cam("check", bad, "--format", "github").out.startswith("::error title=cam check border")


def test_the_text_says_first_what_the_data_can_and_cannot_decide(cam: Cam, good: Path, tmp_path: Path) -> None:
    lines = cam("check", good).out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("can be decided with these data: "))
    table = next(i for i, line in enumerate(lines) if line.startswith("check "))
    assert "border, focus" in lines[first]
    assert first < table
    block = "\n".join(lines[first:table])
    assert re.search(r"^  foreground +the images have no masks or boxes", block, re.MULTILINE)
    assert re.search(r"^  predictions, drift +no baseline was given \(--baseline FILE", block, re.MULTILINE)
    assert not [line for line in lines[table:] if line.startswith(("foreground", "avoid", "agree", "drift", "wrong"))]
    few = write_run(tmp_path / "few", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(6))])
    assert re.search(r"border, focus.* 30 images or more; there are 6 ", cam("check", few).out)
    document = cam("check", good, "--json").document
    assert {"foreground", "avoid", "drift"} <= {row["check"] for row in document["checks"]}


def test_a_baseline_is_written_compared_refused_and_renewed(cam: Cam, good: Path, bad: Path, tmp_path: Path) -> None:
    kept = tmp_path / "attention.baseline"
    assert cam("check", good, "--write-baseline", kept).code == 0
    same = cam("check", good, "--baseline", kept, "--json")
    assert same.code == 0
    assert next(row for row in same.document["checks"] if row["check"] == "drift")["status"] == "pass"
    moved = cam("check", bad, "--baseline", kept, "--set", "border.enabled=false")
    assert moved.code == 1
    assert "--rebase" in moved.out
    fewer = write_run(tmp_path / "fewer", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(35))])
    refused = cam("check", fewer, "--baseline", kept)
    assert refused.code == 2
    assert "5 of the baseline's 40 images are not in the run" in refused.err
    assert cam("check", fewer, "--rebase").code == 2
    assert cam("check", fewer, "--baseline", kept, "--rebase").code == 0
    assert cam("check", fewer, "--baseline", kept).code == 0
    assert cam("check", good, "--baseline", tmp_path / "none").code == 2


def test_maps_of_other_classes_or_layers_are_not_compared_without_a_word(cam: Cam, good: Path, tmp_path: Path) -> None:
    rows = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))]
    for row in rows:
        row["maps"][0]["layer"] = "another"
    config = {**HEADER["config"], "target": "label,predicted"}
    other = write_run(tmp_path / "other", rows, config=config)
    notes = cam("diff", good, other, "--json").document["notes"]
    assert notes == ['target: "predicted" → "label"', "layer: layer → another"]
    kept = tmp_path / "kept"
    assert cam("check", good, "--write-baseline", kept).code == 0
    refused = cam("check", other, "--baseline", kept)
    assert refused.code == 2
    assert 'target: "predicted" → "label"' in refused.err
    top = write_run(tmp_path / "top", rows, config={**HEADER["config"], "target": "top:3"})
    assert cam("check", top, "--baseline", kept).code == 0  # its first map is that of the predicted class
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text(lines[0].replace('"target": "predicted", ', "") + "".join(lines[1:]))
    assert cam("check", other, "--baseline", kept).code == 0  # a baseline from before targets were written down


def test_a_run_with_failed_images_is_told_by_the_exit_code(cam: Cam, tmp_path: Path) -> None:
    rows = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))]
    assert cam("check", write_run(tmp_path / "run", [*rows, {"status": "failed"}])).code == 3


def test_diff_tells_stayed_and_changed_predictions_apart(cam: Cam, tmp_path: Path) -> None:
    maps = blobs(80)
    before = write_run(tmp_path / "before", [item(i, {"gradcam": m}) for i, m in enumerate(maps)])
    after = [item(i, {"gradcam": blob(0.9, 0.1) if i >= 60 else m}, predicted=int(i >= 60)) for i, m in enumerate(maps)]
    found = cam("diff", before, write_run(tmp_path / "after", after), "--json")
    assert found.code == 1  # the maps of what is still predicted are where they were, the others are not
    document: dict[str, Any] = found.document
    assert (document["images"], document["changed_predictions"]) == (80, 20)
    spread = document["distances"]
    assert spread["same prediction"]["spearman"]["median"] == 1
    assert spread["changed prediction"]["spearman"]["median"] < 0.5
    assert all(int(row["image"][:3]) >= 60 for row in document["moved"])
    assert document["moved"][0]["base_prediction"] != document["moved"][0]["new_prediction"]


def test_diff_matches_by_content_then_by_name_and_takes_a_baseline(cam: Cam, good: Path, tmp_path: Path) -> None:
    rows = [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))]
    for row in rows[:20]:
        row["image"] = "moved/" + row["image"]  # the same content elsewhere
    for row in rows[20:]:
        row["sha256"] = row["sha256"][::-1]
    other = write_run(tmp_path / "other", rows)
    document = cam("diff", good, other, "--json").document
    assert (document["images"], document["only_base"], document["only_new"]) == (40, 0, 0)
    assert document["distances"]["all"]["spearman"]["p05"] == 1
    kept = tmp_path / "kept"
    assert cam("check", good, "--write-baseline", kept).code == 0
    assert cam("diff", kept, good).code == 0
    stranger = write_run(tmp_path / "stranger", [item(900, {"gradcam": blob(0.5, 0.5)})])
    nothing = cam("diff", good, stranger)
    assert nothing.code == 2
    assert "no image in common" in nothing.err
    assert cam("diff", good, tmp_path).code == 2


def test_a_real_run_with_all_outputs(cam: Cam, world: World, tmp_path: Path) -> None:
    run = world.run("watermark", "marked")
    sheet, calibrated, junit = tmp_path / "sheet.jpg", tmp_path / "suite.toml", tmp_path / "junit.xml"
    done = cam("check", run, "--sheet", sheet, "--calibrate", calibrated, "--junit", junit)
    assert done.code == 1
    assert "shortcut" in done.out
    with Image.open(sheet) as picture:
        assert picture.height > 600
    with Image.open(tmp_path / "sheet-classes.jpg") as picture:
        assert picture.height > 1000  # the mean maps, and the crops of three classes
    assert re.search(
        r"cross \(30 images\): without the hottest 15 % of the map the probability [\d.]+ falls by", done.out
    )
    assert "[border]" in calibrated.read_text(encoding="utf-8")
    assert ET.parse(junit).getroot()[0].get("failures") == "2"
    moved = tmp_path / "moved.jpg"
    compared = cam("diff", run, world.run("clean", "marked"), "--sheet", moved)
    assert compared.code in (0, 1)
    assert "largest changes" in compared.out
    assert moved.is_file()


def test_help_of_both_commands_does_not_load_torch() -> None:
    code = (
        "import sys; from camcli.cli import main\n"
        "for command in ('check', 'diff'):\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Examples") == 2
