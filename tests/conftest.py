"""What many tests share: real photographs and the command line in this process."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from tests.typer_once import build_commands_once

if TYPE_CHECKING:
    from tests.faults.forking import Forks

# There is a worker for each core: before torch and OpenCV are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
# Ray would leave a token in the home folder, for which every later cluster of this user would ask.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

# How long an example takes is for the machine to say.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

build_commands_once()

# What is imported while tests are collected stays; to look through it again and again takes seconds.
gc.disable()

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "sample_images"
TINY = ("--model", "factory:tests.tiny:build", "--input-size", 64, "--class-names", HERE / "tiny_classes.txt")

# The files that take longest (10 to 60 s): they start first, so that no worker is left alone with one at the end.
LONGEST = (
    "tests/engines/test_ray.py", "tests/engines/test_processes.py", "tests/checks/test_interventions.py",
    "tests/checks/test_examples.py", "tests/checks/test_planted.py", "tests/pipeline/test_on_cuda.py",
    "tests/faults/test_crashing_decoder.py", "tests/evaluation/test_evaluate.py", "tests/storage/test_outputs.py",
    "tests/report/test_page.py", "tests/pipeline/test_stream.py", "tests/models/test_checkpoint_heads.py",
    "tests/methods/test_formulas.py", "tests/docs/test_notebook.py", "tests/capture/test_prefix.py",
    "tests/oracles/test_other_methods.py", "tests/checks/test_recipes.py", "tests/faults/test_interruption.py",
    "tests/checks/test_schemas.py", "tests/checks/test_commands.py", "tests/test_bench.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = {HERE.parent / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: files.get(item.path, len(files)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@dataclass(frozen=True)
class Outcome:
    """What one call of `cam` did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Cam = Callable[..., Outcome]


def without_notes(stderr: str) -> list[str]:
    """The lines of a command's stderr that are no notes."""
    return [line for line in stderr.splitlines() if not line.startswith("note ")]


@pytest.fixture
def cam(capfd: pytest.CaptureFixture[str]) -> Cam:
    """Call the command line as the installed script does, in this process."""

    def call(*arguments: object) -> Outcome:
        from camcli.cli import main

        capfd.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Forks `cam` processes from one that has everything imported."""
    from tests.faults.forking import Forks

    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


def photographs(folder: Path = SAMPLES) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png"))


def index_of(run_dir: Path) -> dict[str, Any]:
    document = json.loads((run_dir / "index.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def artefacts(run_dir: Path) -> dict[str, str]:
    """Relative path → hash of every file a run wrote, but the journal and the index."""
    return {
        str(p.relative_to(run_dir)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(run_dir.rglob("*"))
        if p.is_file() and p.name not in ("index.json", "index.jsonl")
    }


@pytest.fixture
def tiny(cam: Cam) -> Cam:
    """`cam run` with a tiny model, for what does not depend on the model."""
    return lambda *arguments: cam("run", *arguments, *TINY)


@pytest.fixture(scope="session")
def small_photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder of small copies of the sample photographs; made once, for tests to copy."""
    folder = tmp_path_factory.mktemp("small") / "photos"
    folder.mkdir()
    for number, path in enumerate(photographs()[:6]):
        picture = Image.open(path)
        picture.thumbnail((320, 320))
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture
def photos(small_photographs: Path, tmp_path: Path) -> Path:
    """A flat folder of small copies of the sample photographs."""
    return Path(shutil.copytree(small_photographs, tmp_path / "photos"))


def items(run_dir: Path) -> list[dict[str, Any]]:
    found = index_of(run_dir)["items"]
    assert isinstance(found, list)
    return found
