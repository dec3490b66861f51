"""300 processes killed at random system calls over one run of 200 images: the tree of a run that nothing stopped.

``python -m pytest tests/sweeps/test_three_hundred_kills.py -s --timeout 3600``
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import TINY, pictures, tree
from tests.faults.forking import Forks
from tests.faults.test_interruption import check_journal, rows_in

KILLS, IMAGES = 300, 200


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@pytest.mark.parametrize("seed", [1])
def test_three_hundred_kills(seed: int, forks: Forks, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", IMAGES)
    command = ("run", photos, "--save", "overlay,heatmap,raw", "--batch-size", 1, "--workers", 2, *TINY, "--output-dir")
    assert forks.run((*command, tmp_path / "whole"))[0] == 0
    out, chance = tmp_path / "killed", random.Random(seed)
    died = starts = 0
    while died < KILLS:
        # About one image a life, or it would be done long before; of what is there, each row is looked at again.
        last_call = chance.randrange(270 + rows_in(out))
        code, _ = forks.run((*command, out), f"from tests.output.faults import die_at; die_at({last_call})")
        died += code == -signal.SIGKILL
        starts += 1
        check_journal(out)
    code, running = forks.run((*command, out))
    assert code == 0, running.err
    assert rows_in(out) == IMAGES
    assert tree(out) == tree(tmp_path / "whole")
    print(f"{died} of {starts} processes killed")
