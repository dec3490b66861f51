"""``cam merge`` of more shards than files may be open."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from camcli.engines.merge import merge
from camcli.output import units
from tests.conftest import index_of

from .synthetic import name, write_shards, write_units

SHARDS, LIMIT = 250, 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits the open files of a process through its shell")
def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    rows = 2 * 12 * SHARDS + 17
    write_shards(tmp_path / "run", rows, SHARDS)
    command = f'ulimit -n {LIMIT}; exec "$0" -m camcli merge "$1"'
    merged = subprocess.run(
        ["sh", "-c", command, sys.executable, str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stderr
    assert [item["image"] for item in index_of(tmp_path / "run")["items"]] == [name(number) for number in range(rows)]


def test_a_merge_in_a_store_reads_the_units_of_all_shards_with_the_same_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[ThreadPoolExecutor] = []

    def pool(*how: Any) -> ThreadPoolExecutor:
        pools.append(ThreadPoolExecutor(*how))
        return pools[-1]

    monkeypatch.setattr(units, "is_remote", lambda _: True)
    monkeypatch.setattr(units, "ThreadPoolExecutor", pool)
    write_units(tmp_path / "run", 500, shards=20)
    merged = merge(tmp_path / "run")
    assert (merged.shards, merged.counts["images"], len(pools)) == (20, 500, 1)
    assert [item["image"] for item in index_of(tmp_path / "run")["items"]] == [name(number) for number in range(500)]
