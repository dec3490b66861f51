"""What ``cam check --json`` and ``cam diff --json`` print follows the schemas that ship with the package."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from camcli.schemas import check_schema

from ..conftest import Outcome
from .conftest import World
from .handmade import blob, blobs, item, write_run

Cam = Callable[..., Outcome]


def check_errors(document: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(check_schema()).iter_errors(document)]


def diff_errors(document: object) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(check_schema("diff")).iter_errors(document)]


def test_they_are_json_schemas() -> None:
    jsonschema.Draft202012Validator.check_schema(check_schema())
    jsonschema.Draft202012Validator.check_schema(check_schema("diff"))


def test_a_real_run_with_every_check(cam: Cam, world: World, tmp_path: Path) -> None:
    run = world.run("watermark", "marked", method="gradcam,reciprocam")
    kept = tmp_path / "attention.baseline"
    suite = Path(__file__).resolve().parents[2] / "configs" / "checks.toml"
    # The search for shortcuts, which takes seconds, is part of the second call.
    assert cam("check", run, "--write-baseline", kept, "--set", "shortcut.enabled=false").code == 1
    more = ("faithful.enabled=true", "faithful.images=8", "stable.images=8", "random.images=8", "avoid.box=0,0,0.2,0.2")
    done = cam("check", run, "--suite", suite, "--baseline", kept, "--json", *(a for m in more for a in ("--set", m)))
    document = done.document
    assert check_errors(document) == []
    assert done.code == document["exit_code"] == 1
    assert len(document["checks"]) == 14
    statuses = {row["check"]: row["status"] for row in document["checks"]}
    assert {"pass", "fail", "inconclusive"} <= set(statuses.values()), statuses
    assert "skipped" not in statuses.values(), statuses


def test_a_diff_of_runs_and_against_a_baseline(cam: Cam, tmp_path: Path) -> None:
    maps = blobs(40)
    before = write_run(tmp_path / "before", [item(i, {"gradcam": m}) for i, m in enumerate(maps)])
    rows = [item(i, {"gradcam": blob(0.9, 0.1) if i > 30 else m}, predicted=int(i > 30)) for i, m in enumerate(maps)]
    after = write_run(tmp_path / "after", rows)
    kept = tmp_path / "kept"
    assert cam("check", before, "--write-baseline", kept).code == 0
    for base in (before, kept):
        assert diff_errors(cam("diff", base, after, "--json").document) == []
    same = cam("diff", before, before, "--json").document
    assert diff_errors(same) == []
    assert same["distances"]["changed prediction"] is None
    assert check_errors(same), "the two documents are told apart"


EDITS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("no such status", lambda d: d.update(status="ok")),
    ("another schema", lambda d: d.update(schema="camcli.check/2")),
    ("no reason", lambda d: d["checks"][0].pop("why")),
    ("half an interval", lambda d: d["checks"][0]["conditions"][0].update(interval=[1.0])),
    ("a value in words", lambda d: d["checks"][0].update(value="high")),
    ("a side that is none", lambda d: d["checks"][0]["conditions"][0].update(side="above")),
    ("no checks", lambda d: d.update(checks=[])),
]


@pytest.mark.parametrize(("what", "edit"), EDITS)
def test_the_schema_notices(cam: Cam, tmp_path: Path, what: str, edit: Callable[[dict[str, Any]], object]) -> None:
    run = write_run(tmp_path / "run", [item(i, {"gradcam": m}) for i, m in enumerate(blobs(40))])
    good = cam("check", run, "--json").document
    assert check_errors(good) == []
    bad = copy.deepcopy(good)
    edit(bad)
    assert check_errors(bad), what
