"""Processes of shards killed at random system calls; several processes and their head killed at random instants.

``python -m pytest tests/sweeps/test_hundred_kills_of_shards.py -n 0 -s --timeout 7200``; ``KILLS=10 ROUNDS=5`` is
quicker, and ``-k heads`` is the second part alone. What is merged afterwards equals the run of one process that nothing
stopped.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engines.conftest import artefacts_of, make_mixed, rows_of
from tests.engines.forked import ForkedCam, ForkServer
from tests.faults.conftest import TINY, pictures
from tests.faults.forking import Forks

KILLS, ROUNDS = int(os.environ.get("KILLS", "100")), int(os.environ.get("ROUNDS", "100"))
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


def test_processes_and_heads_killed_at_random_instants(tmp_path: Path) -> None:
    """In every round up to three processes, the head among them, are killed, and the command is repeated until done."""
    photos = make_mixed(tmp_path / "photos")
    command = [
        "run",
        photos,
        "--model",
        "factory:tests.engines.models:build_slow",
        "--input-size",
        64,
        "--batch-size",
        2,
    ]
    heads = others = 0
    with ForkServer() as server:
        assert server.run([*command, "-o", tmp_path / "one"]).returncode == 3
        for number in range(ROUNDS):
            chance, count, out = random.Random(number), (2, 3, 7)[number % 3], tmp_path / "out"
            again = [*command, "-o", out, "--processes", count]
            for _ in range(chance.randint(1, 3)):
                running = server.start(again)
                ended = wait(running, chance.uniform(0, 4))
                if not ended and chance.random() < 0.4:
                    running.kill()
                    heads += 1
                elif not ended and running.processes:
                    with suppress(ProcessLookupError):
                        os.kill(chance.choice(running.processes[-count:]), signal.SIGKILL)
                        others += 1
                    wait(running, chance.uniform(0, 2))
                    running.kill()
                running.wait()
            for _ in range(50):  # those of a head that was killed end by themselves, and keep their shards until then
                running = server.run(again)
                if running.returncode == 3:
                    break
                assert "is being written by process" in running.err
                time.sleep(0.2)
            assert outcome(out) == outcome(tmp_path / "one"), f"round {number}"
            assert not list(out.rglob(".cam*"))
            shutil.rmtree(out)
            print(f"round {number + 1}: {others} processes and {heads} heads killed so far, nothing lost", flush=True)


def wait(running: ForkedCam, seconds: float) -> bool:
    """Whether a process ended within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if running.has_ended:
            return True
        time.sleep(0.02)
    return running.has_ended
