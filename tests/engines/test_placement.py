"""``--shard auto``: the variables of torchrun and Slurm, set by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from camcli.config.parse import Shard
from camcli.config.settings import RunConfig
from camcli.engines.placement import count_processes, devices, place
from camcli.errors import ConfigError
from tests.conftest import Cam, items

from .conftest import BATCH, artefacts_of

TORCHRUN = {"RANK": "{}", "WORLD_SIZE": "2", "LOCAL_RANK": "{}", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
SLURM = {"SLURM_PROCID": "{}", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}


def test_ranks_of_torchrun_on_one_machine_merge_by_themselves(
    tiny: Cam, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, run = tmp_path / "one", tmp_path / "run"
    tiny(mixed, "-o", one, *BATCH)
    codes = []
    for rank in (1, 0):
        for name, value in TORCHRUN.items():
            monkeypatch.setenv(name, value.format(rank))
        assert not (run / "index.json").exists()
        codes.append(tiny(mixed, "-o", run, *BATCH, "--shard", "auto").code)
    assert codes == [0, 3]  # another code than 0 would have torchrun end the other rank
    assert items(run) == items(one)
    assert artefacts_of(run) == artefacts_of(one)


def test_tasks_of_slurm_are_shards(
    tiny: Cam, cam: Cam, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, run = tmp_path / "one", tmp_path / "run"
    tiny(mixed, "-o", one, *BATCH)
    for task in range(2):
        for name, value in SLURM.items():
            monkeypatch.setenv(name, value.format(task))
        done = tiny(mixed, "-o", run, *BATCH, "--shard", "auto")
        assert done.code == 3
        assert "cam merge" in done.out
    assert cam("merge", run).code == 3
    assert items(run) == items(one)
    assert artefacts_of(run) == artefacts_of(one)


def test_the_local_number_chooses_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = RunConfig(image_path=("x",), shard="auto", device="cuda")
    placed = place(config, {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"})
    assert (placed.config.shard, placed.config.device, placed.merges) == ("7/8", "cuda:1", False)
    placed = place(config, {"SLURM_PROCID": "4", "SLURM_NTASKS": "8", "SLURM_LOCALID": "2"})
    assert (placed.config.shard, placed.config.device, placed.merges) == ("4/8", "cuda:0", False)
    several = RunConfig(image_path=("x",), processes="5", device="cuda:all")
    assert list(devices(several, count_processes(several))) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert count_processes(RunConfig(image_path=("x",), device="cuda:all")) == 2
    assert count_processes(RunConfig(image_path=("x",), processes="auto")) == 2
    assert list(devices(RunConfig(image_path=("x",), processes="2", device="cuda:1"), 2)) == ["cuda:1", "cuda:1"]


def test_nothing_is_cut_unless_asked() -> None:
    config = RunConfig(image_path=("x",))
    assert place(config, {"RANK": "1", "WORLD_SIZE": "2"}).config is config
    assert count_processes(config) == 1


@pytest.mark.parametrize(
    "variables",
    [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}, {"SLURM_PROCID": "0"}, {}],
)
def test_variables_that_make_no_sense_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="--shard auto"):
        place(RunConfig(image_path=("x",), shard="auto"), variables)


@pytest.mark.parametrize("images", range(0, 40))
def test_parts_cover_every_input_once(images: int) -> None:
    for batch in (1, 3, 4):
        for count in (1, 2, 3, 7):
            shards = [Shard(index, count) for index in range(count)]
            owners = [[shard.index for shard in shards if shard.owns(n, batch)] for n in range(images)]
            assert all(len(each) == 1 for each in owners)
            assert [shard.share(images, batch) for shard in shards] == [
                sum(each == [shard.index] for each in owners) for shard in shards
            ]
