"""100 processes of shards killed at random system calls, and several processes with kills at random instants.

``python -m pytest tests/sweeps/test_hundred_kills_of_shards.py -n 0 -s --timeout 3600``;
``KILLS=10 ROUNDS=2`` is quicker. What is merged afterwards equals the run of one process that nothing stopped.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines import processes
from camcli.engines.run import run
from camcli.pipeline.stream import Watcher
from tests.engines.conftest import artefacts_of, rows_of
from tests.faults.conftest import TINY, pictures
from tests.faults.forking import Forks

KILLS, ROUNDS = int(os.environ.get("KILLS", "100")), int(os.environ.get("ROUNDS", "20"))
IMAGES = 60


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


def some_bad(folder: Path) -> Path:
    """Pictures, every eleventh of which is damaged."""
    pictures(folder, IMAGES)
    for path in sorted(folder.iterdir())[::11]:
        path.write_bytes(path.read_bytes()[:200])
    return folder


def outcome(run_dir: Path) -> tuple[object, ...]:
    document = json.loads((run_dir / "index.json").read_text())
    files = {name: data for name, data in artefacts_of(run_dir).items() if not name.startswith("shards/")}
    return document["items"], rows_of(run_dir), files, document["counts"], document["status"]


@pytest.mark.parametrize("where", ["folder", "tar"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_hundred_kills_of_shards(count: int, where: str, forks: Forks, tmp_path: Path) -> None:
    few = ("--batch-size", 2, "--workers", 2, "--save-to", where)
    command = ("run", some_bad(tmp_path / "photos"), *few, *TINY, "--output-dir")
    assert forks.run((*command, tmp_path / "one"))[0] == 3
    out, chance, died = tmp_path / "out", random.Random(count), 0
    for _ in range(20 * KILLS):
        if died == KILLS:
            break
        if died % 10 == 0 and chance.random() < 0.3:
            forks.run(("merge", out), f"from tests.output.faults import die_at; die_at({chance.randrange(40)})")
        shard = f"{chance.randrange(count)}/{count}"
        last_call = chance.randrange(60 + 4 * IMAGES)
        code, _ = forks.run(
            (*command, out, "--shard", shard), f"from tests.output.faults import die_at; die_at({last_call})"
        )
        died += code == -signal.SIGKILL
    for index in range(count):
        code, running = forks.run((*command, out, "--shard", f"{index}/{count}"))
        assert code in (0, 3), running.err
    code, running = forks.run(("merge", out))
    assert code == 3, running.err
    assert outcome(out) == outcome(tmp_path / "one")
    assert not list(out.rglob(".cam*"))
    print(f"{count} shards, {where}: {died} processes killed")


def test_processes_killed_at_random_instants(forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = some_bad(tmp_path / "photos")
    model = {"model": "factory:tests.engines.models:build_slow", "input_size": "64", "batch_size": "2"}
    one = RunConfig(image_path=(str(photos),), output_dir=str(tmp_path / "one"), **model)  # type: ignore[arg-type]
    run(one, command=("cam", "run"), stop=Stop(), watch=Watcher())
    started: list[int] = []
    begin = processes.begin

    def recorded(process: subprocess.Popen[bytes], *arguments: object) -> None:
        started.append(process.pid)
        begin(process, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(processes, "begin", recorded)
    for seed in range(ROUNDS):
        chance, count = random.Random(seed), (2, 3, 7)[seed % 3]
        due = {chance.randrange(1, IMAGES) for _ in range(3)}

        class Killer(Watcher):
            rows = 0

            def row(self, row: object, chance: random.Random = chance, due: set[int] = due, n: int = count) -> None:
                self.rows += 1
                if self.rows in due:
                    with suppress(ProcessLookupError):
                        os.kill(chance.choice(started[-n:]), signal.SIGKILL)

        out = tmp_path / f"round-{seed}"
        several = RunConfig(image_path=(str(photos),), output_dir=str(out), processes=str(count), **model)  # type: ignore[arg-type]
        run(several, command=("cam", "run"), stop=Stop(), watch=Killer())
        assert outcome(out) == outcome(tmp_path / "one")
        print(f"round {seed}: {count} processes, kills at rows {sorted(due)}")
