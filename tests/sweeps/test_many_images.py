"""Long runs: memory that does not grow. Minutes, so only when asked for.

``python -m pytest tests/sweeps/test_many_images.py -s --timeout 3600 --basetemp FOLDER_WITH_4_GB``
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import TINY
from tests.faults.forking import Forks
from tests.faults.test_many_images import SIMULATED, Memory, manifest, needs_proc


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@needs_proc
@pytest.mark.parametrize(("count", "simulated"), [(10_000, False), (1_000_000, True)], ids=["10,000", "a million"])
def test_memory_is_flat_over_many_images(count: int, simulated: bool, forks: Forks, tmp_path: Path) -> None:
    """10,000 small images after the first 500, a million simulated ones after the first 10,000: flat within 5 %."""
    out, start = tmp_path / "out", time.monotonic()
    save = "none" if simulated else "overlay,raw"
    command = ("run", manifest(tmp_path, count), "--save", save, *TINY, "--output-dir", out)
    memory = Memory(tmp_path / "memory", 10_000 if simulated else 500)
    code, running = forks.run(command, (SIMULATED if simulated else "") + memory.before)
    assert code == 0, running.err
    early, most = memory.early_and_most
    seconds = time.monotonic() - start
    print(f"{count} images: {early / 2**20:.0f} MiB after the first, at most {most / 2**20:.0f} MiB, {seconds:.0f} s")
    with (out / "index.jsonl").open("rb") as journal:
        assert sum(1 for _ in journal) == 1 + count
    allowed = 1.05 * early
    assert most < allowed
