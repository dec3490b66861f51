"""Runs on a Ray cluster whose workers, or whose head, are killed at random instants, and which are repeated until done.

``ROUNDS=100 python -m pytest tests/sweeps/test_hundred_kills_on_ray.py -n 0 -s --timeout 7200``. Workers are killed in
every round, the head in every other one. What a run ends with equals the run of one process that nothing stopped.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from tests.conftest import items
from tests.engines.conftest import artefacts_of, explain, make_mixed, rows_of, settings
from tests.engines.test_ray import start_cluster, workers

ray = pytest.importorskip("ray")
ROUNDS = int(os.environ.get("ROUNDS", "20"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    start_cluster()
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def outcome(run_dir: Path) -> tuple[object, ...]:
    files = {path: content for path, content in artefacts_of(run_dir).items() if not path.startswith("shards/")}
    return items(run_dir), rows_of(run_dir), files, json.loads((run_dir / "index.json").read_text())["counts"]


class Killer(Watcher):
    """Kills a worker a random moment after some of the rows; there are 16."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.rows, self.killed = chance, 0, list[int]()
        self.at = {chance.randint(1, 12) for _ in range(chance.randint(1, 3))}

    def row(self, row: ImageRow) -> None:
        self.rows += 1
        if self.rows in self.at and (pids := workers()):
            time.sleep(self.chance.uniform(0, 0.4))
            self.killed.append(self.chance.choice(pids))
            with suppress(ProcessLookupError):
                os.kill(self.killed[-1], signal.SIGKILL)


def start_and_kill_head(images: Path, run_dir: Path, address: str, chance: random.Random) -> bool:
    """Kill the head a random moment after some of the 8 units; whether it had not ended before."""
    command = [
        sys.executable, "-m", "camcli", "run", str(images), "--model", "factory:tests.engines.models:build_slow",
        "--input-size", "64", "--batch-size", "2", "--engine", "ray", "--cpus-per-worker", "1",
        "--ray-address", address, "-o", str(run_dir),
    ]  # fmt: skip
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    units = chance.randint(0, 6)
    while head.poll() is None and len(list(run_dir.glob("shards/units/*.jsonl"))) < units:
        time.sleep(0.01)
    with suppress(subprocess.TimeoutExpired):
        head.wait(chance.uniform(0, 0.3 if units else 6))
        return False
    head.kill()
    head.wait()
    return True


def test_kills_lose_nothing(address: str, tmp_path: Path) -> None:
    images = make_mixed(tmp_path / "mixed")
    explain(settings(images, tmp_path / "one"))
    expected = outcome(tmp_path / "one")
    of_workers, of_heads, chance = 0, 0, random.Random(0)
    for number in range(ROUNDS):
        run_dir = tmp_path / f"run-{number}"
        if number % 2:
            of_heads += start_and_kill_head(images, run_dir, address, chance)
        killer = Killer(chance)
        summary = explain(settings(images, run_dir, engine="ray", cpus_per_worker=1), killer)
        of_workers += len(killer.killed)
        assert summary.exit_code == 3
        assert outcome(run_dir) == expected, f"round {number}"
        print(f"round {number + 1}: {of_workers} workers and {of_heads} heads killed so far, nothing lost", flush=True)
