"""A run on a Ray cluster: this process lists the images and hands out units; actors explain them.

Ray is the scheduler and never the store: an actor gets the names of the images of a unit, runs the pipeline of one
process on them, writes artefacts and the file of the unit into the run folder, and returns a hash of that file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.placement import config_of_part
from camcli.engines.ray_cluster import WorkerSize, connected, device_of_worker, import_ray, size_of_workers
from camcli.engines.ray_head import Head, UnitJob
from camcli.engines.ray_workers import Workers
from camcli.errors import CamError
from camcli.images import Entry
from camcli.output import (
    Ending,
    UnitFiles,
    in_folder,
    open_units,
)
from camcli.pipeline.folder import earlier_header, list_inputs
from camcli.pipeline.header import now
from camcli.pipeline.inputs import list_sources
from camcli.pipeline.recording import Recording, record
from camcli.pipeline.setup import Decide
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import Header


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
        workers = Workers(ray, own, size, command)
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
                head = Head(workers, folder, stop, watch)
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


def _units(
    entries: Iterable[Entry], recording: Recording, files: UnitFiles, watch: Watcher, stop: Stop
) -> Iterator[UnitJob]:
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
            yield UnitJob(number, left, {place: rows[place] for place in places})
