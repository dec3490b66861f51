"""Which part of the inputs and which GPU a process has, and how several share this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from camcli.concurrency import MOST_WORKERS, cores
from camcli.config.parse import Shard
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

ALL_GPUS = "cuda:all"
_CORES_OF_A_PROCESS = 4


@dataclass(frozen=True)
class Placement:
    """Where a process of a run stands.

    Attributes:
        config: its settings, with a shard by number and a device of its own.
        merges: whether all processes are on this machine, so that the last one merges.
        ends_others: whether its launcher (torchrun) ends all processes when one ends with another code than 0.
    """

    config: RunConfig
    merges: bool = False
    ends_others: bool = False


def place(config: RunConfig, environment: Mapping[str, str]) -> Placement:
    """What ``--shard auto`` means under torchrun or Slurm; other settings stay as they are.

    Raises:
        ConfigError: neither has started this process, or a variable of theirs is no number.
    """
    if config.shard is not None and config.device == ALL_GPUS:
        raise ConfigError(f"--device {ALL_GPUS} is for --processes: a shard is one process, on one GPU.")
    if config.shard != "auto":
        return Placement(config)
    by_torchrun = "RANK" in environment and "WORLD_SIZE" in environment
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK") if by_torchrun else ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
    if not by_torchrun and not ("SLURM_PROCID" in environment and "SLURM_NTASKS" in environment):
        raise ConfigError(
            "--shard auto: neither RANK and WORLD_SIZE (torchrun) nor SLURM_PROCID and SLURM_NTASKS (srun) are set. "
            "Give the part by number: --shard 0/4."
        )
    index, count = (_number(name, environment[name]) for name in names[:2])
    if not index < count:
        raise ConfigError(f"--shard auto: {names[0]}={index} is not below {names[1]}={count}.")
    local = _number(names[2], environment.get(names[2], str(index)))
    device = _local_gpu(config.device, local)
    merges = by_torchrun and environment.get("LOCAL_WORLD_SIZE") == environment["WORLD_SIZE"]
    placed = replace(config, shard=str(Shard(index, count)), device=device)
    return Placement(placed, merges, "TORCHELASTIC_RUN_ID" in environment)


def _number(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"--shard auto: {name}={value} is no number.")
    return int(value)


def _local_gpu(device: str, local: int) -> str:
    gpus = visible_gpus(device)
    return f"cuda:{local % gpus}" if gpus else device


def visible_gpus(device: str) -> int:
    """How many GPUs are dealt out: those that are visible, where no certain device is asked for."""
    if device not in ("auto", "cuda", ALL_GPUS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def count_processes(config: RunConfig) -> int:
    """How many processes this machine runs.

    Raises:
        ConfigError: all GPUs are asked for, and there is none.
    """
    count = config.parsed.processes
    if config.device == ALL_GPUS:
        if not visible_gpus(config.device):
            raise ConfigError(f"--device {ALL_GPUS}: no CUDA device was found. Leave the flag out to run on the CPU.")
        count = None if config.processes == "1" else count
    if count is None:
        count = visible_gpus(config.device) or max(1, cores() // _CORES_OF_A_PROCESS)
    return count


def devices(config: RunConfig, count: int) -> Sequence[str]:
    """The device of each process: the GPUs in turn, or the one that is asked for."""
    gpus = visible_gpus(config.device)
    return [f"cuda:{index % gpus}" if gpus else config.device for index in range(count)]


def config_of_part(config: RunConfig, threads: int, **own: Any) -> RunConfig:
    """The settings of a process that explains a part of a run: without what is left to the head of the run.

    Args:
        config: of the run.
        threads: its loaders, where their number is not asked for.
        own: what only this process has.
    """
    workers = config.workers if config.workers != "auto" else str(min(MOST_WORKERS, max(1, threads)))
    return replace(
        config, processes="1", workers=workers, output_dir=config.run_dir, csv=None, parquet=None, overwrite=False,
        resume=True, **own,
    )  # fmt: skip
