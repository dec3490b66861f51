"""JUnit XML against the schema that CI servers read it by, through the commands, with names that hurt."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from camcli.checks import Result
from camcli.checks.report.junit import junit
from camcli.checks.result import WorstImage

from ..conftest import Cam, photographs
from . import test_outputs
from .handmade import blob, blobs, item, write_run

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("data") / "junit-10.xsd"))
HOSTILE = (
    "bell\x07 and \x1b[31mred.png", "<b>&amp;<br> \"quoted\" 'twice'.png", "]]> <![CDATA[ end.png",
    "cat 🐈 ✅.png", "not\udcff utf-8.png", "line\nfeed\tand\rreturn.png", "\ufffe\uffff noncharacters.png",
    "::error title=x::y,%25.png",
)  # fmt: skip


def parsed(document: bytes) -> etree._Element:
    """The root of a report that follows the schema."""
    root = etree.fromstring(document)
    SCHEMA.assertValid(root)
    return root


def results() -> list[Result]:
    """Of every kind, one with images of hostile names."""
    worst = tuple(WorstImage(name, "photos", 2.1, "heat 2.1") for name in HOSTILE)
    return [dataclasses.replace(r, worst=worst) if r.worst else r for r in test_outputs.results()]


@pytest.mark.parametrize(("strict", "failures", "skipped"), [(False, 1, 2), (True, 3, 1)])
def test_a_report_of_every_outcome_is_valid_and_counts(strict: bool, failures: int, skipped: int) -> None:
    suite = parsed(junit(results(), "cam\x01 ]]>", strict=strict, properties={"model": "<m>\x00"}))[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    assert [suite.get(k) for k in ("tests", "failures", "skipped")] == ["5", str(failures), str(skipped)]
    assert len(suite.findall("testcase/failure")) == failures
    assert len(suite.findall("testcase/skipped")) == skipped
    out = suite.findtext("testcase[@name='border']/system-out") or ""
    assert "bell? and ?[31mred.png: heat 2.1" in out  # what XML cannot hold, or breaks a line, is replaced
    assert "line?feed?and?return.png: heat 2.1" in out
    assert "]]> <![CDATA[ end.png" in out
    assert "should be at most 1.30" in out


def test_the_schema_notices_what_is_wrong() -> None:
    """The guard of the tests above: the schema that they use refuses something."""
    root = etree.fromstring(junit(results(), "cam"))
    del root[0].attrib["errors"]
    assert not SCHEMA.validate(root)


def test_check_on_images_with_hostile_names(cam: Cam, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, path in zip(HOSTILE, [*photographs(), *photographs()], strict=False):
        Image.open(path).convert("RGB").resize((80, 80)).save(photos / name)
    junit_file = tmp_path / "out & <about>" / "re]]>port.xml"
    done = cam(
        "check", photos, "--model", "factory:tests.tiny:build", "--input-size", 64,
        "--output-dir", tmp_path / "run <1>", "--set", "suite.min_images=2", "--set", "border.median_max=0.01",
        "--junit", junit_file,
    )  # fmt: skip
    assert done.code == 1, done.err
    suite = parsed(junit_file.read_bytes())[0]
    assert suite.get("name", "").endswith("run <1>")
    shown = suite.findtext("testcase[@name='border']/failure") or ""
    assert shown.count(".png: heat at the edge") == 6  # the worst six of eight
    assert sum(re.sub("[^ -~]", "?", name) in re.sub("[^ -~]", "?", shown) for name in HOSTILE) == 6


def test_diff_of_images_with_hostile_names(cam: Cam, tmp_path: Path) -> None:
    def run(name: str, maps: list[np.ndarray]) -> Path:
        rows = [item(i, {"gradcam": raw}) for i, raw in enumerate(maps)]
        for row, hostile in zip(rows, HOSTILE, strict=False):
            row["image"] = hostile.encode("utf-8", "replace").decode()  # as a run writes them
        return write_run(tmp_path / name, rows)

    before, after = run("before <&>", blobs(40)), run("after ]]>", [blob(0.9, 0.9) for _ in range(40)])
    done = cam("diff", before, after, "--junit", tmp_path / "diff.xml")
    assert done.code == 1, done.err
    suite = parsed((tmp_path / "diff.xml").read_bytes())[0]
    assert [case.get("name") for case in suite.findall("testcase")] == ["drift"]
    assert suite.find("testcase/failure") is not None
    assert "after ]]>" in suite.get("name", "")
