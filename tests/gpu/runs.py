"""Whole runs on the device, and what they left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcli.config.settings import RunConfig
from camcli.pipeline.setup import Setup
from camcli.pipeline.stream import Summary, Watcher, run
from tests.conftest import artefacts
from tests.gpu.networks import SIZE


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        items: of its index.
        artefacts: hash of every file, by path.
        notes: of its start.
        setup: what was decided.
    """

    summary: Summary
    items: list[dict[str, Any]]
    artefacts: dict[str, str]
    notes: tuple[str, ...]
    setup: Setup


class _Witness(Watcher):
    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self.setup: Setup | None = None

    def ready(self, setup: Setup, notes: Any) -> None:
        self.setup, self.notes = setup, tuple(notes)


def explain(images: Path | list[Path], out: Path, network: str = "resnet", **settings: Any) -> Run:
    """A run on `cuda:0` unless another device is given."""
    paths = [images] if isinstance(images, Path) else images
    of_network = {"model": network, "layer": ["auto"]}
    if network != "builtin":
        of_network["model"] = f"factory:tests.gpu.networks:{network}"
        of_network["input_size"] = str(SIZE)
    own: dict[str, Any] = {
        "image_path": [str(path) for path in paths], "output_dir": str(out), "device": "cuda:0",
        **of_network, **settings,
    }  # fmt: skip
    witness = _Witness()
    summary = run(RunConfig(**own), watch=witness)
    assert witness.setup is not None
    items = json.loads((out / "index.json").read_text(encoding="utf-8"))["items"]
    return Run(summary, items, artefacts(out), witness.notes, witness.setup)
