"""A run by one process, by a shard of it, by several processes of this machine, or by a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.child import Waiting
from camcli.engines.merge import merge_if_all_ended
from camcli.engines.placement import ALL_GPUS, count_processes, devices, place
from camcli.engines.processes import decides, own_configs, run_processes
from camcli.engines.ray_engine import run_on_ray
from camcli.errors import LockedError
from camcli.pipeline import stream
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Summary, Watcher


def planned(config: RunConfig) -> tuple[RunConfig, Sequence[str]]:
    """With which settings this process would decide everything, for ``--dry-run``.

    Returns:
        The settings, with a part by number where the run is divided, and the device of each of several processes;
        none, where this is one process or a shard.

    Raises:
        ConfigError: it cannot be divided so.
        ResumeError: the folder holds a run, which is not to be continued.
    """
    if config.shard is not None:
        return place(config, os.environ).config, ()
    count = count_processes(config) if config.engine == "local" else 1
    if count > 1:
        return decides(config, own_configs(config, count)[0]), devices(config, count)
    return _on_one_gpu(config), ()


def run(
    config: RunConfig,
    *,
    command: Sequence[str],
    stop: Stop,
    watch: Watcher,
    decide: Decide | None = None,
    waiting: Waiting | None = None,
) -> Summary:
    """Explain images into a run folder; see :func:`camcli.pipeline.stream.run`.

    With ``waiting`` processes have been started for it already.
    """
    if config.engine == "ray":
        return run_on_ray(config, command=command, stop=stop, watch=watch, decide=decide)
    if config.shard is None:
        count = count_processes(config)
        if count > 1:
            return run_processes(config, count, command=command, stop=stop, watch=watch, decide=decide, waiting=waiting)
        return stream.run(_on_one_gpu(config), command=command, stop=stop, watch=watch, decide=decide)
    placed = place(config, os.environ)
    summary = stream.run(placed.config, command=command, stop=stop, watch=watch, decide=decide)
    if summary.status != "complete":
        return summary
    merged = None
    if placed.merges:
        with suppress(LockedError):  # another process merges, or goes on with its shard
            merged = merge_if_all_ended(summary.run_dir)
    if merged is not None:
        return replace(summary, counts=merged.counts, timing=merged.timing)
    return replace(summary, unmerged=True, ends_others=placed.ends_others)


def _on_one_gpu(config: RunConfig) -> RunConfig:
    """All GPUs, where one process is to use them, are the first."""
    return replace(config, device="cuda") if config.device == ALL_GPUS else config
