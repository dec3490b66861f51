"""Thousands of broken files, another set for every seed.

``python -m pytest tests/sweeps/test_hostile_thousand.py -s --timeout 3600``
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.forking import Forks
from tests.faults.test_hostile_corpus import check_corpus


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@pytest.mark.parametrize("seed", range(100, 104))
def test_a_large_hostile_corpus(seed: int, forks: Forks, tmp_path: Path) -> None:
    flags = ("--allow-truncated", "--fast-decode") if seed % 2 else ()
    index = check_corpus(forks, tmp_path, 1500, seed, *flags)
    print(seed, dict(Counter(item["error"]["kind"] if item["error"] else "ok" for item in index["items"])))
