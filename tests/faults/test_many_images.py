"""Fault 27: memory does not grow with the number of images, and the first result does not wait for the last input.

The large versions are ``tests/sweeps/test_many_images.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import index_of

from .conftest import TINY, pictures
from .forking import Forks

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

# In place of decoder and model: one image that is always the same, so that a million take minutes.
SIMULATED = """
import threading
from dataclasses import replace
import camcli.pipeline.stream as pipeline
from camcli.pipeline.batching import BatchExplainer
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
_explain = BatchExplainer._explain

def explain(self, batch, sent=None):
    if not explained:
        explained.append(_explain(self, batch[:1])[0])
    return [replace(explained[0], image=image) for image in batch]

pipeline.make_loader, BatchExplainer._explain = make_loader, explain
"""


# Measures this process whenever so many rows were written or read; keeps what it held first and the most.
_MEASURING = """
def measure_memory(path, first, every):
    import os
    from pathlib import Path
    from camcli.output.journal import Journal
    append, lines, rows, held = Journal.append, Journal.lines, [0], []

    def count():
        rows[0] += 1
        if rows[0] < first or rows[0] % every:
            return
        held.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        held[1:] = [max(held)]
        Path(path).write_text(f"{{held[0]}} {{held[-1]}}")

    def appending(self, item):
        offset = append(self, item)
        count()
        return offset

    def reading(self):
        for line in lines(self):
            count()
            yield line

    Journal.append, Journal.lines = appending, reading

measure_memory({path!r}, {first}, {every})
"""


class Memory:
    """What a forked `cam` holds after its first rows, and the most it holds from then on, until its index is written.

    Args:
        path: where the process writes it.
        first: rows before it is measured; then once in a tenth of so many rows.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.first = path, first

    @property
    def before(self) -> str:
        return _MEASURING.format(path=str(self.path), first=self.first, every=self.first // 10)

    @property
    def early_and_most(self) -> tuple[int, int]:
        early, most = map(int, self.path.read_text().split())
        return early, most


def manifest(folder: Path, count: int) -> Path:
    """A list that names ten small pictures so many times in all."""
    pictures(folder / "photos", 10)
    names = sorted(path.name for path in (folder / "photos").iterdir())
    with (folder / "many.jsonl").open("w") as lines:
        for number in range(count):
            lines.write(json.dumps({"image": f"photos/{names[number % 10]}", "label": str(number % 4)}) + "\n")
    return folder / "many.jsonl"


@needs_proc
def test_memory_is_flat(forks: Forks, tmp_path: Path) -> None:
    count, out, memory = 1200, tmp_path / "out", Memory(tmp_path / "memory", 400)
    command = ("run", manifest(tmp_path, count), "--save", "none", "--workers", 2, *TINY, "--output-dir", out)
    code, running = forks.run(command, memory.before)
    assert code == 0, running.err
    assert index_of(out)["counts"]["ok"] == count
    early, most = memory.early_and_most
    assert 0 < most < 1.05 * early, (early, most)


@needs_proc
def test_memory_is_flat_over_simulated_images(forks: Forks, tmp_path: Path) -> None:
    count, out, memory = 4_000, tmp_path / "out", Memory(tmp_path / "memory", 1000)
    command = ("run", manifest(tmp_path, count), "--save", "none", "--workers", 2, *TINY, "--output-dir", out)
    code, running = forks.run(command, SIMULATED + memory.before)
    assert code == 0, running.err
    assert (out / "index.jsonl").read_bytes().count(b"\n") == 1 + count
    early, most = memory.early_and_most
    assert 0 < most < 1.02 * early, (early, most)


# Ends the process when the first artefact is there; its exit code says whether the list had been read to its end.
_UNTIL_THE_FIRST_RESULT = """
import os
from camcli.images import Sources
from camcli.output import ArtefactWriter
iterate, write, taken = Sources.__iter__, ArtefactWriter.write, []

def counting(self):
    for entry in iterate(self):
        taken.append(entry)
        yield entry

def ending(self, *arguments):
    write(self, *arguments)
    os._exit(50 if len(taken) < 1000 else 51)

Sources.__iter__, ArtefactWriter.write = counting, ending
"""


def test_the_first_result_does_not_wait_for_the_last_input(forks: Forks, tmp_path: Path) -> None:
    # Quietly: in a thread of its own, progress counts the whole list.
    command = ("run", manifest(tmp_path, 20_000), "--quiet", *TINY, "--output-dir", tmp_path / "out")
    code, running = forks.run(command, _UNTIL_THE_FIRST_RESULT)
    assert code == 50, running.err
