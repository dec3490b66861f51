"""What the tests of faults share: small pictures, a tiny model, and `cam` as a process that can be killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Outcome

TINY = ("--model", "factory:tests.tiny:build", "--input-size", 64)
Tiny = Callable[..., Outcome]


@pytest.fixture
def tiny(cam: Callable[..., Outcome]) -> Tiny:
    """`cam run` with a tiny model in this process; whatever the fault, no traceback is ever shown."""

    def call(*arguments: object) -> Outcome:
        done = cam("run", *arguments, *TINY)
        assert "Traceback" not in done.out + done.err
        return done

    return call


def picture(number: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture with a bright spot on noise, different for every number."""
    chance = np.random.default_rng(number)
    pixels = chance.integers(0, 120, (size[1], size[0], 3))
    x, y = int(chance.integers(0, size[0] - 20)), int(chance.integers(0, size[1] - 20))
    pixels[y : y + 20, x : x + 20] += chance.integers(60, 130, 3)
    return Image.fromarray(pixels.astype(np.uint8))


def pictures(folder: Path, count: int, start: int = 0) -> Path:
    """A folder with so many pictures, every third a JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        picture(number).save(folder / f"{number:04}.{'png' if number % 3 else 'jpg'}")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos", 6)


def tree(run_dir: Path) -> dict[str, Any]:
    """All of a run folder that must not depend on what happened to the run: files, rows of the journal, items."""
    found: dict[str, Any] = {}
    for path in sorted(run_dir.rglob("*")):
        if path.is_file():
            name = path.relative_to(run_dir).as_posix()
            data = path.read_bytes()
            if name == "index.jsonl":  # its first line holds the time of the start
                data = data.partition(b"\n")[2]
            elif name == "index.json":
                data = data.partition(b'"items": [')[2]
            found[name] = data
    return found
