"""Several processes, and workers of a Ray cluster, on one device: the items and artefacts of one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from camcli.api.run import run
from camcli.config.settings import RunConfig
from tests.conftest import artefacts
from tests.gpu.networks import SIZE


def outcome(images: Path, out: Path, **settings: Any) -> tuple[Any, dict[str, str]]:
    """Items, and the hash of every artefact by its path."""
    summary = run(
        RunConfig(
            image_path=(str(images),), output_dir=str(out), model="factory:tests.gpu.networks:resnet",
            input_size=str(SIZE), batch_size="8", save=("overlay", "raw"), **settings,
        )
    )  # fmt: skip
    assert summary.counts["ok"] == 24
    files = {path: digest for path, digest in artefacts(out).items() if not path.startswith("shards/")}
    return json.loads((out / "index.json").read_text())["items"], files


@pytest.mark.real
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_processes_on_one_device(tmp_path: Path, crops: Path, precision: str) -> None:
    one = outcome(crops, tmp_path / "one", device="cuda:0", precision=precision)
    assert outcome(crops, tmp_path / "two", device="cuda:0", precision=precision, processes="2") == one


@pytest.mark.real
def test_all_devices(tmp_path: Path, crops: Path) -> None:
    one = outcome(crops, tmp_path / "one", device="cuda:0")
    count = str(max(2, torch.cuda.device_count()))
    assert outcome(crops, tmp_path / "all", device="cuda:all", processes=count) == one


@pytest.mark.real
def test_workers_of_ray_share_a_device(tmp_path: Path, crops: Path) -> None:
    pytest.importorskip("ray")
    one = outcome(crops, tmp_path / "one", device="cuda:0")
    of_ray: dict[str, Any] = {"engine": "ray", "gpus_per_worker": 0.5, "cpus_per_worker": 1, "processes": "2"}
    assert outcome(crops, tmp_path / "ray", device="cuda", **of_ray) == one
