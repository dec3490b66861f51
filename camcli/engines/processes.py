"""Several processes on this machine: each explains one shard, and this one, their head, explains nothing.

The head decides everything first, as a run of one process does (so that what is wrong is said once, before any image),
and writes the plan. The others import meanwhile; each then loads the model for itself. They share nothing but the run
folder: on one GPU as on several, a process is what it is alone, and one that dies costs what it had in flight. Its
shard goes on in another process, which tries in a process of its own what may have ended the last one
(``pipeline.crash_guard``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

from camcli.concurrency import Stop, cores
from camcli.config.parse import Shard
from camcli.config.settings import RunConfig
from camcli.engines.child import Waiting, begin
from camcli.engines.merge import merge, write_partial_index
from camcli.engines.placement import config_of_part, devices
from camcli.engines.timing import timing_of_run
from camcli.errors import CamError, ConfigError
from camcli.images import Sources
from camcli.output import FinalStatus, in_folder, read_header, read_plan
from camcli.output.open_folder import not_to_be_continued
from camcli.output.run_folder import remove_run
from camcli.output.shards import join_plan, locked_for_a_moment
from camcli.pipeline.folder import begins_in_units, list_inputs
from camcli.pipeline.header import make_header, now
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Summary, Watcher, prepared
from camcli.schemas.index import Timing
from camcli.storage import run_path

_MOST_DEATHS = 3
"""So often in a row a process of a shard may die without a single image explained; then the run ends."""
_TICK = 0.2


def run_processes(
    config: RunConfig,
    count: int,
    *,
    command: Sequence[str],
    stop: Stop,
    watch: Watcher,
    decide: Decide | None,
    waiting: Waiting | None = None,
) -> Summary:
    """Explain images with several processes; like :func:`camcli.pipeline.stream.run`.

    Args:
        config: the settings; its number of processes may be ``auto``.
        count: how many processes.
        command, stop, watch, decide: as there.
        waiting: processes that have been started already.
    """
    started = time.perf_counter()
    if any(path.startswith("memory://") for path in (config.run_dir, *config.image_path)):
        raise ConfigError("--processes: memory:// is the memory of one process. Name a folder or another store.")
    own = own_configs(config, count)
    with waiting or Waiting() as waiting:
        waiting.fill(count)
        sources = _begin(config, own[0], count, command, watch, decide)
        head = _Head(own, command, stop, watch, waiting)
    stop.flowing = True
    try:
        status = head.run()
    except BaseException:
        head.kill()
        raise
    timing = head.timing(time.perf_counter() - started)
    path = run_path(config.run_dir)
    if head.error is not None:
        with suppress(CamError):  # what stopped the run may stop the index too; the first error is the one to report
            write_partial_index(path, _Names(sources), status, now(), timing)
        raise head.error
    if status == "complete":
        counts = merge(path, config.csv, timing, config.parquet).counts
    else:
        counts = write_partial_index(path, _Names(sources), status, now(), timing)
    return Summary(status, path, counts, head.explained, timing, stop.signal)


class _Names:
    """Source and image of every input; may be iterated again."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((entry.source, entry.image) for entry in self._sources)


def own_configs(config: RunConfig, count: int) -> list[RunConfig]:
    """The settings of each process: its shard, its device, its share of the threads.

    Raises:
        ConfigError: the inputs are on standard input, which only one process can read.
        ResumeError: the folder holds a run, which is not to be continued.
    """
    if "-" in config.image_path:
        raise ConfigError("--processes: each process lists the inputs. Write standard input to a file, and give @FILE.")
    path = run_path(config.run_dir)
    if not config.resume and not config.overwrite and (read_plan(path) or read_header(path)):
        raise not_to_be_continued(path)
    return [
        config_of_part(config, cores() // count, shard=str(Shard(index, count)), device=device)
        for index, device in enumerate(devices(config, count))
    ]


def decides(config: RunConfig, first: RunConfig) -> RunConfig:
    """The settings with which the head decides: those of the first process, as a part of the run that is continued.

    With ``--overwrite`` none is: nothing of the run that is there is used again.
    """
    return replace(first, shard=None, overwrite=True) if config.overwrite else first


def describe_processes(own: Sequence[str], device: str) -> str:
    """``4 processes on cuda:0, cuda:1``.

    Args:
        own: the device of each, as it is asked for.
        device: what ``auto`` is.
    """
    return f"{len(own)} processes on {', '.join(sorted({device if one == 'auto' else one for one in own}))}"


def _begin(
    config: RunConfig, first: RunConfig, count: int, command: Sequence[str], watch: Watcher, decide: Decide | None
) -> Sources:
    """Decide everything, and write the plan; nothing of the model stays."""
    path = run_path(config.run_dir)
    with prepared(decides(config, first), watch, decide) as setup:
        header = in_folder(make_header(setup, command), path)
        header["config"] = {**header["config"], "processes": str(count), "csv": config.csv, "parquet": config.parquet}
        setup.sources.exclude(path)
        with locked_for_a_moment(path):
            if config.overwrite:
                remove_run(path)
            inputs = list_inputs(setup.sources)
            join_plan(path, header, count, inputs, durable=config.durable, in_units=begins_in_units(config))
        note = describe_processes(devices(config, count), str(setup.device))
        watch.ready(replace(setup, config=replace(setup.config, shard=None)), [note])
        return setup.sources


@dataclass
class _Process:
    """The process of one shard, and those that it replaces."""

    config: RunConfig
    process: subprocess.Popen[bytes]
    deaths: int = 0
    ending: dict[str, Any] | None = None
    signalled: bool = False
    replaced: bool = False
    timings: list[Timing] = field(default_factory=list)


class _Head:
    """Starts the processes, passes on what they report, and replaces those that die."""

    def __init__(
        self, configs: Sequence[RunConfig], command: Sequence[str], stop: Stop, watch: Watcher, waiting: Waiting
    ) -> None:
        self.command, self.stop, self.watch, self._waiting = command, stop, watch, waiting
        self.explained = 0
        self.error: CamError | None = None
        self.aborted = False
        self._events: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()
        self._processes = [_Process(config, self._start(index, config)) for index, config in enumerate(configs)]

    def run(self) -> FinalStatus:
        """Wait for all processes; how the run ended."""
        running = set(range(len(self._processes)))
        while running:
            if self.stop or self.error or self.aborted:
                self._signal(running)
            with suppress(Empty):
                index, event = self._events.get(timeout=_TICK)
                if event is not None:
                    self._take(self._processes[index], event)
                elif not self._goes_on(index):
                    running.discard(index)
        if self.error or self.aborted:
            return "aborted"
        return "interrupted" if self.stop else "complete"

    def kill(self) -> None:
        """End all processes at once."""
        for one in self._processes:
            one.process.kill()

    def timing(self, seconds: float) -> Timing:
        """Of the whole run: its seconds, and the busy seconds of all processes."""
        return timing_of_run(seconds, self.explained, (timing for one in self._processes for timing in one.timings))

    def _start(self, index: int, config: RunConfig) -> subprocess.Popen[bytes]:
        process = self._waiting.take()
        begin(process, config, self.command)
        threading.Thread(target=self._read, args=(index, process), daemon=True).start()
        return process

    def _read(self, index: int, process: subprocess.Popen[bytes]) -> None:
        """Pass on the events of a process; None when there are no more."""
        assert process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError):  # torn by the end of the process
                self._events.put((index, json.loads(line)))
        process.wait()
        self._events.put((index, None))

    def _take(self, one: _Process, event: dict[str, Any]) -> None:
        match event["event"]:
            case "row":
                self.explained += 1
                one.deaths = 0
                self.watch.row(event["row"])
            case "skipped":
                if not one.replaced:  # the last one counted them
                    self.watch.skipped(event["count"])
            case "inside":
                self.watch.inside(event["method"], event["done"], event["total"])
            case "done":
                one.timings.append(event["timing"])
                if event["status"] == "interrupted" and not (one.signalled or self.stop):
                    return  # somebody else has stopped it: it is replaced, as one that died
                one.ending = event
                self.aborted = self.aborted or event["status"] == "aborted"
            case "error":
                one.ending = event
                if self.error is None:
                    self.error = CamError(event["message"])
                    self.error.exit_code = event["exit_code"]

    def _goes_on(self, index: int) -> bool:
        """After the end of a process: whether another one goes on with its shard."""
        one = self._processes[index]
        code = one.process.returncode
        if one.process.stdin is not None:
            with suppress(OSError):
                one.process.stdin.close()
        if one.ending is not None or one.signalled or self.stop or self.error or self.aborted:
            return False
        one.deaths += 1
        shard, how = one.config.shard, _describe(code)
        if one.deaths >= _MOST_DEATHS:
            self.error = CamError(
                f"the process of shard {shard} ended {one.deaths} times ({how}) without explaining an image. What was "
                "explained is kept: the same command continues. It may lack memory: try fewer --processes."
            )
            return False
        self.watch.note(f"the process of shard {shard} ended ({how}); another one goes on")
        one.process, one.replaced = self._start(index, one.config), True
        return True

    def _signal(self, running: set[int]) -> None:
        for index in running:
            one = self._processes[index]
            if not one.signalled:
                one.signalled = True
                with suppress(OSError):
                    if os.name == "nt":  # knows no signal but the end
                        one.process.terminate()
                    else:
                        one.process.send_signal(self.stop.signal or signal.SIGTERM)


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
