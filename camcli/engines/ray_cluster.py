"""The Ray cluster of a run: connecting to it, and how many workers of which size it has room for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from camcli.concurrency import cores
from camcli.config.settings import RunConfig
from camcli.engines.placement import ALL_GPUS
from camcli.errors import ConfigError

_INSTALL = "pip install ray (the extra ray; in a clone: pip install '.[ray]')"
_CORES_OF_A_WORKER, _MOST_CORES = 4, 16
_OBJECT_STORE = 128 << 20
"""Bytes of a local cluster's store: no pixels and no maps go through it."""


@dataclass(frozen=True)
class WorkerSize:
    """What a worker takes, and how many there are.

    Attributes:
        gpus, cpus: of one worker.
        count: the workers.
        machines: how many machines the cluster has.
        has_room: whether it has room for one now; a cluster that grows may have none yet.
    """

    gpus: float
    cpus: float
    count: int
    machines: int
    has_room: bool = True

    @property
    def threads(self) -> int:
        """Threads of a worker's model on a CPU, and of its loaders."""
        return max(1, int(self.cpus))

    def __str__(self) -> str:
        workers = f"{self.count} worker" + "s" * (self.count != 1)
        gpus = f" and {self.gpus:g} GPU" + "s" * (self.gpus > 1) if self.gpus else ""
        machines = f"{self.machines} machine" + "s" * (self.machines != 1)
        return f"{workers} of {self.cpus:g} CPU core{'s' * (self.cpus != 1)}{gpus} on {machines} of a Ray cluster"


def import_ray() -> Any:
    """Ray.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"--engine ray: Ray is not installed. {_INSTALL}") from error
    return ray


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Inside, this process is connected to a cluster; one of its own is started where none is named.

    Raises:
        ConfigError: no cluster is there.
    """
    if ray.is_initialized():  # by the program that calls us: its cluster, which goes on afterwards
        yield
        return
    named = address or os.environ.get("RAY_ADDRESS")
    of_its_own = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(named or "local", logging_level="ERROR", log_to_driver=False, **({} if named else of_its_own))
    except Exception as error:  # ConnectionError, ValueError, RuntimeError and others, by what is wrong
        where = f"--ray-address {named}" if address else f"RAY_ADDRESS={named}" if named else "--engine ray"
        reason = " ".join(str(error).split()) or type(error).__name__
        # Ray sends its token to a cluster that it finds itself, and to a named one only when it is told to.
        hint = " If the cluster asks for a token, set RAY_AUTH_MODE=token." if named not in (None, "auto") else ""
        raise ConfigError(
            f"{where}: no Ray cluster could be reached ({reason.rstrip('.')}).{hint} Start one with `ray start "
            "--head`, or leave the address out: then one is started on this machine."
        ) from error
    try:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)
        yield
    finally:
        ray.shutdown()


def size_of_workers(config: RunConfig, nodes: Sequence[Mapping[str, float]]) -> WorkerSize:
    """How large a worker is, and how many there are.

    Args:
        config: the settings; a number of processes above 1 is the number of workers.
        nodes: the resources of each machine, ``CPU`` and ``GPU``.

    Raises:
        ConfigError: the cluster has no room for one, or no GPU although one is asked for.
    """
    gpus, cpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("GPU", "CPU"))
    wants_gpus = config.device.startswith("cuda")
    if wants_gpus and config.gpus_per_worker == 0:
        raise ConfigError(f"--device {config.device} and --gpus-per-worker 0 contradict each other. Leave one out.")
    of_worker = config.gpus_per_worker
    if of_worker is None:
        of_worker = 1.0 if wants_gpus or (gpus and config.device == "auto") else 0.0
    cpus_of_worker = config.cpus_per_worker
    if cpus_of_worker is None:
        if of_worker and gpus:
            cpus_of_worker = float(min(_MOST_CORES, max(1, int(cpus / (gpus / of_worker)))))
        else:
            cpus_of_worker = float(min(_CORES_OF_A_WORKER, max((node.get("CPU", 1) for node in nodes), default=1)))
    room = sum(_fits(node, of_worker, cpus_of_worker) for node in nodes)
    asked = config.parsed.processes
    count = asked if asked is not None and asked > 1 else room
    can_grow = bool(config.ray_address or os.environ.get("RAY_ADDRESS")) and asked is not None and asked > 1
    if not room and not can_grow:
        has = f"{cpus:g} CPU cores and {gpus:g} GPUs on {len(nodes)} machines"
        raise ConfigError(
            f"--engine ray: no machine of the cluster has room for a worker of {cpus_of_worker:g} CPU cores and "
            f"{of_worker:g} GPUs; it has {has}. Change --cpus-per-worker, --gpus-per-worker or --device."
        )
    return WorkerSize(of_worker, cpus_of_worker, count, len(nodes), bool(room))


def device_of_worker(config: RunConfig, size: WorkerSize) -> str:
    """The device of a worker, which sees only its own GPUs."""
    if size.gpus:
        return "cuda"
    return "cpu" if config.device in ("auto", ALL_GPUS) else config.device


def _fits(node: Mapping[str, float], gpus: float, cpus: float) -> int:
    shares = [int(node.get(kind, 0) / each + 1e-9) for kind, each in (("GPU", gpus), ("CPU", cpus)) if each]
    return min(shares, default=1)
