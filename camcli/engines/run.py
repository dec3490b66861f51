"""A run by one process, by a shard of it, by several processes of this machine, or by a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.merge import merge_if_all_ended
from camcli.engines.placement import count_processes, place
from camcli.engines.processes import run_processes
from camcli.engines.ray_engine import run_on_ray
from camcli.errors import LockedError
from camcli.pipeline import stream
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Summary, Watcher


def run(
    config: RunConfig, *, command: Sequence[str], stop: Stop, watch: Watcher, decide: Decide | None = None
) -> Summary:
    """Explain images into a run folder; see :func:`camcli.pipeline.stream.run`."""
    if config.engine == "ray":
        return run_on_ray(config, command=command, stop=stop, watch=watch, decide=decide)
    if config.shard is None:
        count = count_processes(config)
        if count > 1:
            return run_processes(config, count, command=command, stop=stop, watch=watch, decide=decide)
        if config.device == "cuda:all":
            config = replace(config, device="cuda")
        return stream.run(config, command=command, stop=stop, watch=watch, decide=decide)
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
