"""The page on every check: complete, with the defaults of the code, and its example manifest works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from camcli.checks import CHECKS

from ..conftest import SAMPLES, Outcome

ROOT = SAMPLES.parent
PAGE = (ROOT / "docs" / "reference" / "checks.md").read_text(encoding="utf-8")
SECTIONS = {part.split("`")[1]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith("`")}


@pytest.mark.parametrize("key", CHECKS)
def test_a_check_is_described_with_its_defaults(key: str) -> None:
    section = SECTIONS[key]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE))
    assert set(rows) == set(CHECKS[key].settings)
    for name, spec in CHECKS[key].settings.items():
        assert rows[name] == ("none" if spec.default is None else f"{spec.default:g}"), name
    assert "misleads" in section
    assert "hreshold" in section


def test_the_page_describes_no_other_checks() -> None:
    assert set(SECTIONS) == set(CHECKS)


def test_the_example_manifest_gives_objects_and_regions(
    cam: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    run, check = (line.split()[2:] for line in re.findall(r"^\$ cam .*$", PAGE, re.MULTILINE))
    run[run.index("attention")] = check[check.index("attention")] = str(tmp_path / "attention")
    assert cam(*run).code == 0
    done = cam(*check, "--json")
    assert done.code == 0
    results = {row["check"]: row for row in done.document["checks"]}
    assert (results["foreground"]["n"], results["avoid"]["n"]) == (3, 3)  # the cat is larger than `largest`
    assert results["avoid"]["status"] == "pass"
    assert results["foreground"]["value"] is not None
