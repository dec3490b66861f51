"""A run on a Ray cluster: this process lists the images and hands out units; actors explain them.

Ray is the scheduler and never the store: an actor gets the names of the images of a unit, runs the pipeline of one
process on them, writes artefacts and the file of the unit into the run folder, and returns a hash of that file. Ray
itself starts nothing again: how often a unit is tried is counted here. A unit that has ended its worker twice
has its images tried one by one, and an image that ends its worker twice is named and left out.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.placement import config_of_part
from camcli.engines.ray_cluster import WorkerSize, connected, device_of_worker, import_ray, size_of_workers
from camcli.engines.timing import timing_of_run
from camcli.engines.unit_worker import Done, Place, Ready, Refused, UnitWorker
from camcli.errors import CamError, ImageError
from camcli.images import Entry
from camcli.output import (
    Ending,
    FinalStatus,
    Plan,
    UnitError,
    UnitFiles,
    UnitFolder,
    in_folder,
    open_units,
    parse_row,
)
from camcli.output.compare import differences, is_same_run
from camcli.pipeline.folder import earlier_header, list_inputs
from camcli.pipeline.header import now
from camcli.pipeline.inputs import list_sources
from camcli.pipeline.items import Failed, failed_row
from camcli.pipeline.recording import Recording, record
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import Header, ImageRow, Timing

_TICK = 0.2
_MOST_TRIES = 2
"""So many workers a unit, or an image alone, may end."""
_PATIENCE = 60.0
"""Seconds after which it is said that the first worker has not started."""
_MOST_STARTS = 3
"""So many workers in a row may end before they have their model."""
_MOST_FATAL = 3
"""So many images in a row may end their workers; then it is not the images."""


def run_on_ray(
    config: RunConfig, *, command: Sequence[str], stop: Stop, watch: Watcher, decide: Decide | None
) -> Summary:
    """Explain images on a Ray cluster; like :func:`camcli.pipeline.stream.run`."""
    started = time.perf_counter()
    ray = import_ray()
    with connected(ray, config.ray_address):
        size = size_of_workers(config, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        own = _config_of_worker(config, size)
        if not size.has_room:
            watch.note("no machine of the cluster has room for a worker now: waiting until one joins")
        workers = _Workers(ray, own, size, command)
        try:
            ready = workers.start_first(earlier_header(config), watch, decide, stop, overwrite=config.overwrite)
            header = in_folder(_of_whole_run(ready.header, config, size), config.run_dir)
            sources = list_sources(config)
            with open_units(
                config.run_dir, header, list_inputs(sources),
                resume=config.resume, overwrite=config.overwrite, durable=config.durable,
            ) as folder:  # fmt: skip
                recording = record(folder, config, folder.plan.batch_size)
                watch.ready_elsewhere(config, ready.description, [*ready.notes, *folder.notes, str(size)])
                workers.start_others(folder.plan)
                head = _Head(workers, folder, recording, stop, watch)
                stop.flowing = True
                status = head.run(_units(sources, recording, folder.files, watch, stop))
                timing = head.timing(time.perf_counter() - started)
                ending = Ending(status, now(), timing, sources.passed_over)
                if head.error is not None:
                    with suppress(CamError):  # the first error is the one to report
                        recording.end(header, ending, head.explained)
                    raise head.error
                counts = recording.end(header, ending, head.explained)
                return Summary(
                    status, folder.path, {**vars(counts)}, head.explained, timing, stop.signal, folder.instead_of
                )
        finally:
            workers.close()


def _config_of_worker(config: RunConfig, size: WorkerSize) -> RunConfig:
    return config_of_part(
        config, size.threads, engine="local", ray_address=None, gpus_per_worker=None, cpus_per_worker=None,
        device=device_of_worker(config, size), dry_run=False,
    )  # fmt: skip


def _of_whole_run(header: Header, config: RunConfig, size: WorkerSize) -> Header:
    own = {name: getattr(config, name) for name in ("engine", "ray_address", "gpus_per_worker", "cpus_per_worker")}
    whole = {**header["config"], **own, "processes": str(size.count), "csv": config.csv, "parquet": config.parquet}
    return {**header, "config": whole}


@dataclass
class _Unit:
    """Images of a unit that have no row.

    Attributes:
        number: of the unit.
        entries: the images.
        earlier: the rows of its other images, by their places in it.
        deaths: how many workers it has ended.
        untried: where it has ended so many that each image is tried alone: how many are still to be tried; else None.
        fatal: the images that ended their workers alone, with their rows.
    """

    number: int
    entries: list[Entry]
    earlier: dict[int, bytes]
    deaths: int = 0
    untried: int | None = None
    fatal: list[tuple[Entry, ImageRow]] = field(default_factory=list)


@dataclass
class _Alone:
    """An image that is tried alone."""

    entry: Entry
    unit: _Unit
    deaths: int = 0


_Job = _Unit | _Alone


def _units(
    entries: Iterable[Entry], recording: Recording, files: UnitFiles, watch: Watcher, stop: Stop
) -> Iterator[_Unit]:
    """The units that have images without a row, with those."""
    for number, of_unit in groupby(entries, lambda entry: files.number_of(entry.ordinal)):
        left, places = [], []
        for entry in of_unit:
            if recording.is_done(entry):
                watch.skipped(1)
                places.append(entry.ordinal % files.size)
            else:
                left.append(entry)
        if stop:
            return
        if left:
            rows = files.read(number) if places else []
            yield _Unit(number, left, {place: rows[place] for place in places})


class _Workers:
    """The actors: started, waited for, and replaced."""

    def __init__(self, ray: Any, config: RunConfig, size: WorkerSize, command: Sequence[str]) -> None:
        self.ray, self.size, self._config = ray, size, config
        threads = os.environ.get("OMP_NUM_THREADS", str(size.threads))
        # Ray's own restarts and retries have no bound by default, and would not know what ended a worker.
        self._actor = ray.remote(UnitWorker).options(
            num_cpus=size.cpus, num_gpus=size.gpus, max_restarts=0, max_task_retries=0,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}},
        )  # fmt: skip
        self._arguments = tuple(command), Place.here()
        self._failed_starts = 0
        self._plan: Plan | None = None
        self._alive: list[Any] = []
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}  # what is waited for, and its actor

    def start_first(
        self, recorded: Header | None, watch: Watcher, decide: Decide | None, stop: Stop, *, overwrite: bool
    ) -> Ready:
        """Start a worker, which decides everything.

        Raises:
            CamError: as it met it, or workers cannot start.
        """
        config = replace(self._config, overwrite=overwrite)
        while True:
            actor = self._create(config)
            task = actor.prepare.remote(recorded, watch.describe(), decide)
            patient_until = time.monotonic() + _PATIENCE
            while not self.ray.wait([task], timeout=_TICK)[0]:
                if stop:
                    raise SystemExit(128 + (stop.signal or 0))
                if time.monotonic() > patient_until:  # Ray waits for ever, and says nothing
                    patient_until = math.inf
                    watch.note(
                        "still waiting for the first worker: the cluster has no room for it yet, or cannot start it "
                        "(`ray status` and the logs of Ray, /tmp/ray/session_latest/logs on its machines, say which)"
                    )
            try:
                ready = self.ray.get(task)
            except self.ray.exceptions.RayError as error:
                self.failed_to_start(error)
                continue
            if isinstance(ready, Refused):
                raise ready.error
            self.idle.append(actor)
            return ready  # type: ignore[no-any-return]

    def start_others(self, plan: Plan) -> None:
        """Start the others; they are waited for with the units."""
        self._plan = plan
        for _ in range(self.size.count - 1):
            self.start()

    def start(self) -> None:
        """Start one more worker."""
        assert self._plan is not None
        actor = self._create(self._config)
        self.starting[actor.prepare.remote(self._plan.header, None)] = actor

    def _create(self, config: RunConfig) -> Any:
        self._alive.append(self._actor.remote(config, *self._arguments))
        return self._alive[-1]

    def failed_to_start(self, error: Exception) -> None:
        """Count a worker that ended before it had its model.

        Raises:
            CamError: too many have.
        """
        self._failed_starts += 1
        if self._failed_starts >= _MOST_STARTS:
            raise CamError(
                f"--engine ray: {self._failed_starts} workers ended before they had their model ({describe_end(error)})"
                ". They may lack memory, or the package: install the same version of cambatch on every machine."
            )

    def started(self, actor: Any, ready: Ready) -> str | None:
        """A worker has its model; why it cannot be used, where it would compute something else."""
        assert self._plan is not None
        self._failed_starts = 0
        if not is_same_run(self._plan.header, ready.header):
            return f"{ready.node} would compute something else: " + "; ".join(
                differences(self._plan.header, ready.header)
            )
        self.idle.append(actor)
        return None

    def close(self) -> None:
        """End all workers at once."""
        for actor in self._alive:
            with suppress(Exception):  # it has ended already
                self.ray.kill(actor)


def describe_end(error: Exception) -> str:
    """Why a worker ended, in a few words: Ray says it in a page."""
    text = str(error)
    if "OutOfMemory" in type(error).__name__ or "memory" in text.partition("Some common causes")[0].lower():
        return "it ran out of memory"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "creation task" in text and lines:
        return lines[-1]
    return "its process or its machine was lost"


class _Head:
    """Hands out units, and takes what comes back."""

    def __init__(self, workers: _Workers, folder: UnitFolder, recording: Recording, stop: Stop, watch: Watcher) -> None:
        self._workers, self._folder, self._recording = workers, folder, recording
        self._stop, self._watch = stop, watch
        self._again: deque[_Job] = deque()
        self._tasks: dict[Any, tuple[Any, _Job]] = {}
        self._timings: list[Timing] = []
        self._fatal_in_a_row = 0
        self.explained = 0
        self.error: CamError | None = None
        self._aborted = False

    def run(self, units: Iterator[_Unit]) -> FinalStatus:
        """Explain all units; how the run ended."""
        ray = self._workers.ray
        while True:
            self._hand_out(units)
            if not self._tasks and (self._is_ending or not self._is_work_left(units)):
                break
            waiting = [*self._tasks, *self._workers.starting]
            for task in ray.wait(waiting, timeout=_TICK)[0] if waiting else ():
                try:
                    self._take(task)
                except CamError as error:
                    self.error = self.error or error
            if not waiting and not self._workers.idle and self.error is None:
                self.error = CamError("--engine ray: no worker is left.")
        if self.error or self._aborted:
            return "aborted"
        return "interrupted" if self._stop else "complete"

    def timing(self, seconds: float) -> Timing:
        """Of the whole run: its seconds, and the busy seconds of all workers."""
        return timing_of_run(seconds, self.explained, self._timings)

    @property
    def _is_ending(self) -> bool:
        return bool(self._stop) or self._aborted or self.error is not None

    def _is_work_left(self, units: Iterator[_Unit]) -> bool:
        """Whether a unit is left that no worker has; it is put where the next one is taken from."""
        if not self._again and (unit := next(units, None)) is not None:
            self._again.append(unit)
        return bool(self._again)

    def _hand_out(self, units: Iterator[_Unit]) -> None:
        while self._workers.idle and not self._is_ending and self._is_work_left(units):
            actor, job = self._workers.idle.pop(), self._again.popleft()
            plan = self._folder.plan
            if isinstance(job, _Unit):
                task = actor.explain.remote(plan, job.number, job.entries, job.earlier, job.fatal)
            else:
                task = actor.explain_alone.remote(plan, job.entry)
            self._tasks[task] = actor, job

    def _take(self, task: Any) -> None:
        ray, job = self._workers.ray, None
        if task in self._tasks:
            actor, job = self._tasks.pop(task)
        else:
            actor = self._workers.starting.pop(task)
        try:
            result = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise CamError(f"--engine ray: a worker failed, which is a fault of cam: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            self._died(job, error)
            return
        if job is not None:
            self._workers.idle.append(actor)
        if isinstance(result, Refused):
            if job is not None or not (self._tasks or self._workers.idle or self._workers.starting):
                raise result.error
            self._watch.note(f"one worker fewer: {result.message}")
        elif isinstance(result, Ready):
            if reason := self._workers.started(actor, result):
                self._watch.note(f"one worker fewer: {reason}")
        elif isinstance(job, _Unit):
            self._take_unit(job, result)
        elif job is not None:
            self._fatal_in_a_row = 0
            self._tried(job)

    def _take_unit(self, unit: _Unit, done: Done) -> None:
        self._timings.append(done.timing)
        if done.status != "complete":
            self._aborted = True
            if done.failed is not None:  # --fail-fast
                self._watch.row(done.failed)
            return
        files = self._folder.files
        ordinals = sorted(entry.ordinal for entry in (*unit.entries, *(entry for entry, _ in unit.fatal)))
        try:
            rows = files.read(unit.number)
        except CamError as error:
            raise CamError(_not_shared(self._folder.path, done.node)) from error
        if hashlib.sha256(b"\n".join(rows)).hexdigest() != done.sha256:
            raise UnitError(_not_shared(self._folder.path, done.node))
        files.done.add(unit.number)
        for ordinal in ordinals:
            row = parse_row(rows[ordinal % files.size])
            assert row is not None
            self.explained += 1
            self._watch.row(row)

    def _tried(self, alone: _Alone) -> None:
        """After the last image of a unit that was tried alone, the unit is explained without the fatal ones."""
        unit = alone.unit
        assert unit.untried is not None
        unit.untried -= 1
        if not unit.untried:
            fatal = {entry.ordinal for entry, _ in unit.fatal}
            unit.entries = [entry for entry in unit.entries if entry.ordinal not in fatal]
            unit.deaths = 0
            self._again.appendleft(unit)

    def _died(self, job: _Job | None, error: Exception) -> None:
        """A worker was lost, at a unit, at an image alone, or before it had its model."""
        if self._is_ending:
            return
        cause = describe_end(error)
        if job is None:
            self._workers.failed_to_start(error)
        elif isinstance(job, _Unit):
            self._died_at_unit(job, cause)
        else:
            job.deaths += 1
            if job.deaths < _MOST_TRIES:
                self._again.appendleft(job)
            else:
                self._name(job, cause)
        self._workers.start()

    def _died_at_unit(self, unit: _Unit, cause: str) -> None:
        unit.deaths += 1
        self._watch.note(f"a worker was lost at unit {unit.number} ({cause}); another one goes on")
        if unit.deaths < _MOST_TRIES:
            self._again.appendleft(unit)
        elif unit.untried is None:
            self._watch.note(f"unit {unit.number} has ended {unit.deaths} workers: its images are tried one by one")
            unit.untried = len(unit.entries)
            self._again.extendleft(_Alone(entry, unit) for entry in reversed(unit.entries))
        else:
            raise CamError(
                f"--engine ray: workers end at unit {unit.number} ({cause}), though they survive each of its images "
                "alone. They may lack memory: try a smaller --batch-size or more --cpus-per-worker. The same command "
                "continues."
            )

    def _name(self, alone: _Alone, cause: str) -> None:
        """An image has ended its workers: it failed, unless it is one of many in a row."""
        self._fatal_in_a_row += 1
        if self._fatal_in_a_row >= _MOST_FATAL:
            raise CamError(
                f"--engine ray: workers end at every image ({cause}), {alone.entry.image} the last one. They may lack "
                "memory: try a smaller --batch-size or more --cpus-per-worker. The same command continues."
            )
        message = f"explaining this image ended its worker {alone.deaths} times ({cause})"
        alone.unit.fatal.append((alone.entry, failed_row(Failed(alone.entry, ImageError("worker-died", message)))))
        self._tried(alone)


def _not_shared(run_dir: Path, node: str) -> str:
    return (
        f"{run_dir}: the file of a unit that a worker on {node} has written is not there as it wrote it. The run "
        "folder must be on a file system that all machines of the cluster share, or in an object store."
    )
