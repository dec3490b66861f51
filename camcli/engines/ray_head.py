"""The head of a run on a Ray cluster: hands out units, and takes what comes back.

Ray itself starts nothing again: how often a unit is tried is counted here. A unit that has ended its worker twice
has its images tried one by one, and an image that ends its worker twice is named and left out.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camcli.concurrency import Stop
from camcli.engines.ray_workers import TICK, Workers, describe_end
from camcli.engines.timing import timing_of_run
from camcli.engines.unit_worker import Done, Ready, Refused
from camcli.errors import CamError, ImageError
from camcli.images import Entry
from camcli.output import FinalStatus, UnitError, UnitFolder, parse_row
from camcli.pipeline.items import Failed, failed_row
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow, Timing

_MOST_TRIES = 2
"""So many workers a unit, or an image alone, may end."""
_MOST_FATAL = 3
"""So many images in a row may end their workers; then it is not the images."""


@dataclass
class UnitJob:
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
    unit: UnitJob
    deaths: int = 0


_Job = UnitJob | _Alone


class Head:
    """Hands out units, and takes what comes back."""

    def __init__(self, workers: Workers, folder: UnitFolder, stop: Stop, watch: Watcher) -> None:
        self._workers, self._folder = workers, folder
        self._stop, self._watch = stop, watch
        self._again: deque[_Job] = deque()
        self._tasks: dict[Any, tuple[Any, _Job]] = {}
        self._timings: list[Timing] = []
        self._fatal_in_a_row = 0
        self.explained = 0
        self.error: CamError | None = None
        self._aborted = False

    def run(self, units: Iterator[UnitJob]) -> FinalStatus:
        """Explain all units; how the run ended."""
        ray = self._workers.ray
        while True:
            self._hand_out(units)
            if not self._tasks and (self._is_ending or not self._is_work_left(units)):
                break
            waiting = [*self._tasks, *self._workers.starting]
            for task in ray.wait(waiting, timeout=TICK)[0] if waiting else ():
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

    def _is_work_left(self, units: Iterator[UnitJob]) -> bool:
        """Whether a unit is left that no worker has; it is put where the next one is taken from."""
        if not self._again and (unit := next(units, None)) is not None:
            self._again.append(unit)
        return bool(self._again)

    def _hand_out(self, units: Iterator[UnitJob]) -> None:
        while self._workers.idle and not self._is_ending and self._is_work_left(units):
            actor, job = self._workers.idle.pop(), self._again.popleft()
            plan = self._folder.plan
            if isinstance(job, UnitJob):
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
        elif isinstance(job, UnitJob):
            self._take_unit(job, result)
        elif job is not None:
            self._fatal_in_a_row = 0
            self._tried(job)

    def _take_unit(self, unit: UnitJob, done: Done) -> None:
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
        elif isinstance(job, UnitJob):
            self._died_at_unit(job, cause)
        else:
            job.deaths += 1
            if job.deaths < _MOST_TRIES:
                self._again.appendleft(job)
            else:
                self._name(job, cause)
        self._workers.start()

    def _died_at_unit(self, unit: UnitJob, cause: str) -> None:
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
