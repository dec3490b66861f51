"""``--dry-run`` of a run that is divided: as the run would decide, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from camcli.config.settings import RunConfig
from camcli.engines.run import planned
from camcli.pipeline.folder import earlier_header
from tests.conftest import Cam

from .conftest import BATCH


def test_a_dry_run_says_what_each_process_would_do(
    tiny: Cam, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry = (photos, "-o", tmp_path / "run", *BATCH, "--dry-run", "--device", "cpu")
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert "images   6, 2 of them in shard 1/2" in tiny(*dry, "--shard", "auto").out
    planned = tiny(*dry, "--shard", "0/2", "--json").document
    assert (planned["images"], planned["shard"], planned["shard_images"]) == (6, "0/2", 4)
    assert "note     3 processes on cpu" in tiny(*dry, "--processes", 3).out
    assert tiny(*dry, "--processes", 3, "--json").document["processes"] == ["cpu"] * 3
    assert not (tmp_path / "run").exists()


def test_a_dry_run_refuses_what_the_run_would(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    run = (photos, "-o", tmp_path / "run", *BATCH)
    assert tiny(*run, "--shard", "0/2").code == 0
    before = sorted((tmp_path / "run").rglob("*"))
    for arguments, message in (
        (("--shard", "1/3"), "the number of shards: 2 → 3"),
        (("--processes", 3), "the number of shards: 2 → 3"),
        (("--shard", "0/2", "--no-resume"), "holds shard 0/2 already, and --no-resume forbids"),
        (("--processes", 2, "--no-resume"), "holds a run already, and --no-resume forbids"),
        (("--shard", "0/2", "--alpha", 0.3), "config.alpha: 0.5 → 0.3"),
        ((), "a run in 2 shards that are not merged"),
    ):
        refused = tiny(*run, "--dry-run", *arguments)
        assert refused.code == 2, arguments
        assert message in " ".join(refused.err.split()), arguments
    for arguments in (("--shard", "1/2"), ("--processes", 2), ("--processes", 3, "--overwrite")):
        assert tiny(*run, "--dry-run", *arguments).code == 0
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_all_gpus_where_there_is_none(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    refused = tiny(photos, "-o", tmp_path / "run", "--dry-run", "--device", "cuda:all")
    assert refused.code == 2
    assert "--device cuda:all: no CUDA device was found" in refused.err


def test_overwriting_uses_nothing_that_is_there(tiny: Cam, photos: Path, tmp_path: Path) -> None:
    """Not the limits of its sample, its batch size or its choice of a method."""
    run = tmp_path / "run"
    tiny(photos, "-o", run, *BATCH, "--limit", 1, "--shard", "0/2")
    config = RunConfig(image_path=(str(photos),), output_dir=str(run), processes="2")
    assert earlier_header(planned(config)[0]) is not None
    assert earlier_header(planned(replace(config, overwrite=True))[0]) is None
