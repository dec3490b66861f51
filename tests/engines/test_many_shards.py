"""``cam merge`` of more shards than files may be open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import index_of

from .synthetic import name, write_shards

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
