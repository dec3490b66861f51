"""The actors of a Ray cluster that explain units: started, waited for, and replaced."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.ray_cluster import WorkerSize
from camcli.engines.unit_worker import Place, Ready, Refused, UnitWorker
from camcli.errors import CamError
from camcli.output import Plan
from camcli.output.compare import differences, is_same_run
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import Header

TICK = 0.2
"""Seconds that are waited at once: after so many it is asked whether the run is to stop."""
_PATIENCE = 60.0
"""Seconds after which it is said that the first worker has not started."""
_MOST_STARTS = 3
"""So many workers in a row may end before they have their model."""


class Workers:
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
            while not self.ray.wait([task], timeout=TICK)[0]:
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
