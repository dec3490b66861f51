"""Required checks: one that is inconclusive or skipped fails the build, and every report says why."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from camcli.checks import check_run, load_suite
from camcli.errors import ConfigError

from ..conftest import Outcome
from .handmade import blobs, item, write_run

Cam = Callable[..., Outcome]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Six good images: all checks with thresholds are inconclusive."""
    return write_run(tmp_path / "few", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(6))])


def test_a_required_check_that_is_not_decided_fails_in_every_report(cam: Cam, few: Path, tmp_path: Path) -> None:
    junit = tmp_path / "out.xml"
    assert cam("check", few).code == 0
    text = cam("check", few, "--require", "border,foreground", "--junit", junit)
    assert text.code == 1
    assert "2 required but not decided" in text.out
    assert "required, so this counts as failed: only 6 images where 30 are needed" in " ".join(text.out.split())
    cases = {case.get("name"): case for case in ET.parse(junit).getroot()[0].findall("testcase")}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {"border", "foreground"}
    failure = cases["foreground"].find("failure")
    assert failure is not None
    assert failure.get("type") == "skipped"
    assert "required, so this counts as failed: the images have no masks" in str(failure.get("message"))
    github = cam("check", few, "--require", "border", "--require", "foreground", "--format", "github")
    assert github.code == 1
    assert [line.split(" check ")[1].split("%3A")[0] for line in github.out.splitlines() if "::error" in line] == [
        "border", "foreground",
    ]  # fmt: skip
    document = cam("check", few, "--require", "border,foreground", "--json").document
    assert (document["status"], document["exit_code"]) == ("fail", 1)
    required = {row["check"]: row["status"] for row in document["checks"] if row["required"]}
    assert required == {"border": "inconclusive", "foreground": "skipped"}


def test_a_required_check_that_passes_is_no_failure(cam: Cam, few: Path) -> None:
    assert cam("check", few, "--require", "valid,border", "--set", "suite.min_images=5").code == 0
    assert cam("check", few, "--require", "border", "--fail-on", "never").code == 0  # all results are only reported


def test_the_suite_and_the_command_line_add_up(tmp_path: Path, few: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text('[suite]\nrequire = ["border"]\n[valid]\n[border]\n', encoding="utf-8")
    suite = load_suite(str(path), require=["valid,focus"])
    assert suite.required == {"border", "valid", "focus"}
    assert list(suite.settings) == ["valid", "border", "focus"]  # what is required runs
    found = {one.check: one.effective_status for one in check_run(str(few), suite=str(path), require=["valid"])}
    assert found == {"valid": "pass", "border": "fail"}


@pytest.mark.parametrize(
    ("require", "changes", "says"),
    [
        ("bordr", [], "--require: no check 'bordr'. Did you mean border"),
        ("border", ["border.enabled=false"], "set border.enabled=true"),
        ("valid", ["suite.require=focsu"], "suite.require: no check 'focsu'. Did you mean focus"),
    ],
)
def test_a_required_check_that_cannot_run_is_refused(require: str, changes: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_suite(None, changes, [require])


def test_a_diff_obeys_the_suite(cam: Cam, few: Path, tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text('[suite]\nrequire = ["drift"]\n[drift]\n', encoding="utf-8")
    assert cam("diff", few, few).code == 0
    assert cam("diff", few, few, "--suite", path).code == 1
