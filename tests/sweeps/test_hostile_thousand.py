"""Thousands of broken files, another set for every seed; and a folder of files that nobody here wrote.

``python -m pytest tests/sweeps/test_hostile_thousand.py -n 0 -s --timeout 3600``; with ``HOSTILE_FOLDER=F`` also over
the files of F, for instance the test images of a source distribution of Pillow.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.forking import Forks
from tests.faults.test_hostile_corpus import check_corpus, check_folder


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


def kinds(index: dict[str, Any]) -> dict[str, int]:
    return dict(Counter(item["error"]["kind"] if item["error"] else "ok" for item in index["items"]))


@pytest.mark.parametrize("seed", range(100, 104))
def test_a_large_hostile_corpus(seed: int, forks: Forks, tmp_path: Path) -> None:
    flags = ("--allow-truncated", "--fast-decode") if seed % 2 else ()
    print(seed, kinds(check_corpus(forks, tmp_path, 1500, seed, *flags)))


@pytest.mark.skipif("HOSTILE_FOLDER" not in os.environ, reason="no HOSTILE_FOLDER")
def test_a_folder_of_others(forks: Forks, tmp_path: Path) -> None:
    shutil.copytree(os.environ["HOSTILE_FOLDER"], tmp_path / "photos")
    print(kinds(check_folder(forks, tmp_path / "photos", tmp_path)))
