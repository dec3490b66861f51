"""Fault 27: memory does not grow with the number of images, and the first result does not wait for the last input.

The large versions are ``tests/sweeps/test_many_images.py``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, pictures
from .forking import Forks, Running

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

# In place of decoder and model: one image that is always the same, so that a million take minutes.
SIMULATED = """
import threading
from dataclasses import replace
import camcli.pipeline.stream as pipeline
from camcli.pipeline.batching import Explaining
from camcli.pipeline.items import Loaded

true, lock, kept = pipeline.make_loader, threading.Lock(), []

def make_loader(setup, clock):
    load = true(setup, clock)
    def simulated(entry):
        with lock:
            if not kept:
                kept.append(load(entry))
        return replace(kept[0], entry=entry)
    simulated.decode = load.decode
    return simulated

explained = []
_explain = Explaining._explain

def explain(self, batch, sent=None):
    if not explained:
        explained.append(_explain(self, batch[:1])[0])
    return [replace(explained[0], loaded=image) for image in batch]

pipeline.make_loader, Explaining._explain = make_loader, explain
"""


def manifest(folder: Path, count: int) -> Path:
    """A list that names ten small pictures so many times in all."""
    pictures(folder / "photos", 10)
    names = sorted(path.name for path in (folder / "photos").iterdir())
    with (folder / "many.jsonl").open("w") as lines:
        for number in range(count):
            lines.write(json.dumps({"image": f"photos/{names[number % 10]}", "label": str(number % 4)}) + "\n")
    return folder / "many.jsonl"


def memory_of(running: Running, journal: Path, bytes_a_row: float, first: int) -> tuple[int, int]:
    """Resident bytes of a run after its first rows, and the most it held from then on."""
    early = most = 0
    while True:
        try:
            held = int(Path(f"/proc/{running.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            return early, most
        if held == 0:  # it is ending
            return early, most
        rows = journal.stat().st_size / bytes_a_row if journal.exists() else 0
        if rows >= first:
            early = early or held
            most = max(most, held)
        time.sleep(0.02)


@needs_proc
def test_memory_is_flat(forks: Forks, tmp_path: Path) -> None:
    count, out = 2000, tmp_path / "out"
    command = ("run", manifest(tmp_path, count), "--save", "none", "--workers", 2, *TINY, "--output-dir", out)
    running = forks.start(command)
    early, most = memory_of(running, out / "index.jsonl", 1200, 500)
    assert running.wait() == 0, running.err
    assert index_of(out)["counts"]["ok"] == count
    assert 0 < most < 1.05 * early, (early, most)


@needs_proc
def test_memory_is_flat_over_simulated_images(forks: Forks, tmp_path: Path) -> None:
    count, out = 20_000, tmp_path / "out"
    command = ("run", manifest(tmp_path, count), "--save", "none", "--workers", 2, *TINY, "--output-dir", out)
    running = forks.start(command, before=SIMULATED)
    early, most = memory_of(running, out / "index.jsonl", 1200, 2000)
    assert running.wait() == 0, running.err
    assert (out / "index.jsonl").read_bytes().count(b"\n") == 1 + count
    assert 0 < most < 1.05 * early, (early, most)


def test_the_first_result_does_not_wait_for_the_last_input(forks: Forks, tmp_path: Path) -> None:
    many, out = manifest(tmp_path, 100_000), tmp_path / "out"
    start = time.monotonic()
    running = forks.start(("run", many, *TINY, "--output-dir", out))
    while not (out / "overlays").exists():
        assert time.monotonic() - start < 20
        time.sleep(0.01)
    running.send(9)
    assert running.wait() == -9
