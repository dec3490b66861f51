"""Run folders in object stores hold what run folders on a disk hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from camcli.storage import file_system
from tests.conftest import Cam, artefacts, index_of, items

from .servers import FaultyServer

BATCH = ("--batch-size", 2)
RUNS = ("memory://bucket/run", "s3://bucket/run")
SECONDS = ("started", "finished", "timing", "command", "config")


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> str:
    """The URL of a run folder that is not there yet."""
    url: str = request.param
    request.getfixturevalue("s3" if url.startswith("s3") else "memory")
    return url


def content(url: str) -> dict[str, bytes]:
    """Relative path and content of each object below a URL."""
    fs = file_system(url)
    paths = fs.find(url)
    root = fs._strip_protocol(url).rstrip("/")
    return {path.removeprefix(root + "/"): fs.cat_file(path) for path in paths}


def index_at(url: str) -> dict[str, Any]:
    document = json.loads(content(url)["index.json"])
    assert isinstance(document, dict)
    return document


def artefacts_at(url: str) -> dict[str, str]:
    objects = {name: data for name, data in content(url).items() if not name.startswith(("index.json", "shards/"))}
    return {name: hashlib.sha256(data).hexdigest() for name, data in objects.items()}


def same_as(url: str, run_dir: Path) -> None:
    """Check that two run folders hold the same."""
    assert index_at(url)["items"] == items(run_dir)
    assert artefacts_at(url) == artefacts(run_dir)
    there, here = index_at(url), index_of(run_dir)
    assert {k: v for k, v in there.items() if k not in SECONDS} == {k: v for k, v in here.items() if k not in SECONDS}


def test_a_run(tiny: Cam, cam: Cam, run: str, pictures: Path, tmp_path: Path) -> None:
    assert tiny(pictures, "-o", tmp_path / "run", *BATCH).code == 3
    outcome = tiny(pictures, "-o", run, *BATCH)
    assert outcome.code == 3
    assert f"{run} is in an object store, which has no locks: start only one process on it" in outcome.out
    assert f"results in {run}" in outcome.out
    same_as(run, tmp_path / "run")
    objects = content(run)
    assert [name for name in objects if "tmp" in name or "lock" in name] == []
    rows = objects["index.jsonl"].splitlines()
    assert rows[1:] == (tmp_path / "run/index.jsonl").read_bytes().splitlines()[1:]
    again = tiny(pictures, "-o", run, *BATCH, "--json")
    assert again.document["explained_now"] == 0
    assert content(run) == objects
    assert cam("merge", run).code == 3
    assert index_at(run)["items"] == items(tmp_path / "run")
