"""The fingerprints of a run change with a setting as the setting declares it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from camcli.config.settings import SETTINGS, RunConfig
from camcli.pipeline.header import make_header, names_digest
from camcli.pipeline.pictures import decides_pictures
from camcli.pipeline.setup import prepare
from tests.tiny import build

BASE: dict[str, Any] = {"model": "factory:tests.tiny:build", "input_size": "64", "device": "cpu"}
OTHER: dict[str, Any] = {
    "output_dir": "elsewhere",
    "save_to": "tar",
    "parquet": "maps.parquet",
    "engine": "ray",
    "ray_address": "auto",
    "gpus_per_worker": 0.5,
    "cpus_per_worker": 2.0,
    "model": "factory:tests.faults.models:unused",
    "checkpoint": "other.pt",
    "trust_checkpoint": True,
    "class_names": "names.txt",
    "probability": "sigmoid",
    "input_size": "96",
    "mean": "0.5,0.5,0.5",
    "std": "0.5,0.5,0.5",
    "resize": "squash",
    "layer": "features.2",
    "fuse": "mean",
    "layout": "nhwc",
    "method": "layercam",
    "option": "scorecam.max_channels=3",
    "target": "top:2",
    "score": "prob",
    "aug_smooth": True,
    "eigen_smooth": True,
    "device": "auto",
    "precision": "bf16",
    "batch_size": "3",
    "workers": "7",
    "save": "raw",
    "colormap": "turbo",
    "alpha": 0.25,
    "gamma": 0.5,
    "signed": True,
    "canvas": "view",
    "image_format": "png",
    "quality": 50,
    "scale": "0:2",
    "max_side": 99,
    "topk": 2,
    "csv": "index.csv",
    "resume": False,
    "retry_failed": True,
    "overwrite": True,
    "durable": True,
    "fast_decode": True,
    "allow_truncated": True,
    "max_pixels": 10_000_000,
    "sample": "2",
    "limit": 2,
    "bands": "3,2,1",
    "show_bands": "2",
    "window": "40,400",
    "seed": 7,
    "fail_fast": True,
    "dry_run": True,
    "shard": "0/2",
    "processes": "2",
    "connections": 8,
}
TOGETHER_WITH: dict[str, dict[str, Any]] = {
    "option": {"method": "scorecam"},
    "layout": {"layer": "features.2"},
    "ray_address": {"engine": "ray"},
    "gpus_per_worker": {"engine": "ray"},
    "cpus_per_worker": {"engine": "ray"},
}
NOT_ALONE = {
    "image_path": "compared beside the fingerprints",
    "weights": "of a published model",
    "num_classes": "with a checkpoint that fits",
    "output_key": "with a model of several outputs",
    "use_cuda": "needs a CUDA device",
    "device_decode": "needs a CUDA device: test_device_decode",
    "compile": "takes a compiler",
    "budget": "with the method best: test_best",
}


def fingerprints(photos: Path, **settings: Any) -> tuple[str, str]:
    header = make_header(prepare(RunConfig(image_path=(str(photos),), **(BASE | settings))), ())
    return header["fingerprint"], header["render_fingerprint"]


@pytest.fixture(scope="module")
def plain(samples: Path) -> tuple[str, str]:
    return fingerprints(samples)


def test_every_setting_is_tried() -> None:
    assert OTHER.keys() | NOT_ALONE.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_affects_what_it_declares(
    name: str, samples: Path, plain: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "device" and torch.cuda.is_available():
        pytest.skip("another device has another batch size")
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("a\nb\nc\nd\n")
    torch.save({key: value + 1 for key, value in build().state_dict().items()}, "other.pt")
    rest = TOGETHER_WITH.get(name, {})
    before = fingerprints(samples, **rest) if rest else plain
    after = fingerprints(samples, **rest, **{name: OTHER[name]})
    changed = (before[0] != after[0], before[1] != after[1])
    affects = SETTINGS[name].affects
    assert changed == (affects == "maps", affects == "pictures")


def test_a_gamma_of_one_is_in_no_fingerprint_and_others_count_by_their_value(samples: Path) -> None:
    """A run folder from before there was a gamma is continued."""
    setups = [prepare(RunConfig(image_path=(str(samples),), gamma=gamma, **BASE)) for gamma in (1, 2, 2.0)]
    plain, whole, real = (decides_pictures(s.config, None, names_digest(s.model)) for s in setups)
    assert "gamma" not in plain
    assert make_header(setups[0], ())["config"]["gamma"] == 1
    assert {**plain, "gamma": 2.0} == real
    assert str(whole) == str(real)
