import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from camcli.output.header import HEADER_KEYS

MEGABYTE = 1 << 20

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process's memory from /proc")


def grown(run_dir: Path, rows: int) -> dict[str, int]:
    """Bytes by which a process grew over that many rows, after each step."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.output.rows_in_bulk", str(run_dir), str(rows)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    measured: dict[str, int] = json.loads(ended.stdout)
    return measured


@needs_proc
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """10,000 rows of 1 kB are 10 MB; held is nothing of them, and 24 bytes of each where a run is continued."""
    measured = grown(tmp_path, 10_000)
    assert max(measured[step] for step in ("append", "index", "table")) < 3 * MEGABYTE, measured
    assert max(measured.values()) < 5 * MEGABYTE, measured
    with (tmp_path / "index.json").open("rb") as index:
        assert sum(1 for _ in index) == 10_000 + len(HEADER_KEYS) + 3
