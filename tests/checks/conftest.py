"""Models that are known to look at the shape, a watermark, the frame, or always at one spot; and runs of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import camcli

from .shapes import FixedGaze, Net, accuracy, samples, signed, train, write

LAYER = "features.11"
ROOT = Path(__file__).resolve().parents[2]


def installed(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Call the command as it is installed beside the interpreter."""
    script = Path(sys.executable).with_name("cam")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "camcli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    root: Path

    def manifest(self, images: str) -> Path:
        """Of the ``plain``, ``marked``, ``framed`` or ``signed`` images."""
        return self.root / images / "manifest.csv"

    def run(self, model: str, images: str, *, method: str = "gradcam", **settings: object) -> Path:
        """The run folder of a model on images, made where it is not there."""
        more = "".join(f"-{key}-{value}" for key, value in settings.items())
        out = self.root / f"run-{model}-{images}-{method}{more}"
        if not out.exists():
            config = camcli.RunConfig(
                image_path=(str(self.manifest(images)),), output_dir=str(out), method=tuple(method.split(",")),
                model=f"factory:tests.checks.shapes:{model}", input_size="64", resize="squash", layer=(LAYER,),
                save=(), workers="1", batch_size="32", **settings,  # type: ignore[arg-type]
            )  # fmt: skip
            assert camcli.run(config).exit_code == 0
        return out


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAM_SHAPES", str(_trained(tmp_path_factory)))
        for name, kind in (("plain", {}), ("marked", {"marked": True}), ("framed", {"framed": True})):
            write(root / name, samples(90, 7, **kind))
        write(root / "signed", signed(45, 8))
        yield World(root)


def _trained(factory: pytest.TempPathFactory) -> Path:
    """The folder of the trained weights; of several workers of one test run only the first trains."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            made = Path(tempfile.mkdtemp(dir=folder.parent))
            _train(made)
            made.rename(folder)
    return folder


def _train(folder: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, kind, count, images in (
        ("clean", Net, 1800, {}), ("watermark", Net, 450, {"marked": True}), ("frame", Net, 450, {"framed": True}),
        ("fixed_gaze", FixedGaze, 450, {}),
    ):  # fmt: skip
        net = train(samples(count, 0, **images), kind=kind)
        assert accuracy(net, samples(150, 1, **images)) > 0.95, f"the {name} model did not learn its task"
        torch.save(net.state_dict(), folder / f"{name}.pt")
    torch.set_num_threads(threads)
