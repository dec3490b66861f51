"""300 processes killed at random instants over one run of 200 images: the tree of a run that nothing stopped.

``python -m pytest tests/sweeps/test_three_hundred_kills.py -s --timeout 3600``
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import pictures, tree
from tests.faults.forking import Forks
from tests.faults.test_interruption import SLOW, check_journal, rows_in

KILLS, IMAGES = 300, 200


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@pytest.mark.parametrize("seed", [1])
def test_three_hundred_kills(seed: int, forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", IMAGES)
    command = ("run", photos, "--save", "overlay,heatmap,raw", "--batch-size", 1, "--workers", 2, *SLOW, "--output-dir")
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    out, chance = tmp_path / "killed", random.Random(seed)
    died = begun = 0
    while died < KILLS:
        running, before, start = forks.start((*command, out)), rows_in(out), time.monotonic()
        if chance.random() < 0.8:  # about one image a life, or it would be done long before
            while rows_in(out) == before < IMAGES and time.monotonic() - start < 3:
                time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.06 if rows_in(out) > before else 0.4))
        running.send(signal.SIGKILL)
        died += running.wait() == -signal.SIGKILL
        begun += 1
        check_journal(out)
    code, running = forks.run((*command, out))
    assert code == 0, running.err
    assert rows_in(out) == IMAGES
    assert tree(out) == tree(tmp_path / "whole")
    print(f"{died} of {begun} processes killed")
