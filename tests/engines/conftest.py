"""Runs that are shared out: small photographs with files among them that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.run import run
from camcli.pipeline.stream import Summary, Watcher
from tests.conftest import photographs

BATCH = ("--batch-size", 2)


@pytest.fixture(scope="session")
def mixed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 photographs and 4 files that fail; made once, for tests to copy."""
    return make_mixed(tmp_path_factory.mktemp("mixed_once") / "mixed")


@pytest.fixture
def mixed(mixed_once: Path, tmp_path: Path) -> Path:
    """A folder of 12 photographs and 4 files that fail."""
    return Path(shutil.copytree(mixed_once, tmp_path / "mixed"))


def make_mixed(folder: Path) -> Path:
    """12 photographs, and 4 files that fail: at the beginning, two in a row, at the end."""
    folder.mkdir()
    for number in range(12):
        picture = Image.open(photographs()[number % 6]).convert("RGB")
        picture.thumbnail((90 + 7 * number, 90 + 7 * number))
        picture.save(folder / f"{number:02}.png")
    (folder / "00.jpg").write_bytes(b"")
    (folder / "05a.jpg").write_text("no image")
    (folder / "05b.jpg").write_bytes((folder / "05.png").read_bytes()[:300])
    (folder / "99.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def artefacts_of(run_dir: Path) -> dict[str, bytes]:
    """Every file of a run by its path, without the index, the journal and what shards keep."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in sorted(run_dir.rglob("*"))
        if path.is_file() and path.parent.name != "shards" and path.name not in ("index.json", "index.jsonl")
    }


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """The rows of the journal, in its order."""
    return [json.loads(line) for line in (run_dir / "index.jsonl").read_bytes().splitlines()[1:]]


def settings(images: Path, run_dir: Path, **more: object) -> RunConfig:
    """The settings of a run of the slow model, in batches of two."""
    fields = {"model": "factory:tests.engines.models:build_slow", "input_size": "64", "batch_size": "2"} | more
    return RunConfig(image_path=(str(images),), output_dir=str(run_dir), **fields)  # type: ignore[arg-type]


def explain(config: RunConfig, watch: Watcher | None = None, stop: Stop | None = None) -> Summary:
    """A run as the command line makes it."""
    return run(config, command=("cam", "run"), stop=Stop() if stop is None else stop, watch=watch or Watcher())
