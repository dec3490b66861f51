"""Images of stores give what the same images give from a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cam, artefacts, index_of, items

from .conftest import Upload

STORES = ("memory://bucket/in", "s3://bucket/in")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty folder of a store."""
    url: str = request.param
    request.getfixturevalue("s3" if url.startswith("s3") else "memory")
    return url


def without_source(run_dir: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in item.items() if key != "source"} for item in items(run_dir)]


def test_a_folder(tiny: Cam, store: str, pictures: Path, upload: Upload, tmp_path: Path) -> None:
    upload(pictures, store)
    here = tiny(pictures, "-o", tmp_path / "here")
    there = tiny(store, "-o", tmp_path / "there")
    assert (here.code, there.code) == (3, 3)
    assert without_source(tmp_path / "there") == without_source(tmp_path / "here")
    assert {item["source"] for item in items(tmp_path / "there")} == {store}
    assert artefacts(tmp_path / "there") == artefacts(tmp_path / "here")
    counts = index_of(tmp_path / "there")["counts"]
    assert counts == index_of(tmp_path / "here")["counts"]
    assert counts["labelled"] == 5
    assert counts["passed_over"] == 1
