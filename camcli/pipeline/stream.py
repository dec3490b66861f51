"""The stream of a run. Read this first.

    paths ─► decode ─► preprocess ─► batch ─► explain ─► render ─► write ─► journal ─► index
             └──── threads ─────┘    └─ this thread ─┘   └── threads ──┘    └─ this thread ─┘

The arrows are generators: the last one requests a row, and each stage pulls what it needs from the one before, only
as far ahead as its window allows. So memory does not grow with the number of images, results come out in the order
of the inputs, and when no new path is taken (a signal, an error) the stream ends after the images in flight. On an
accelerator the model has a thread of its own, so that the device computes the next batch while this thread passes on
the last one; and a CUDA device draws as well, a batch at once, before the threads encode and write. Images
of object stores are read ahead by threads of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camcli.concurrency import Clock, Stop, in_order, lower_priority, opencv_in_one_thread
from camcli.config.settings import RunConfig
from camcli.errors import OutputError
from camcli.images import Entry, pillow_limits
from camcli.output import (
    COLUMNS,
    Ending,
    FinalStatus,
    RunFolder,
    UnitFolder,
    in_folder,
    no_finished_run,
    read_index_items,
    table_of,
)
from camcli.pipeline.at_speed import at_speed
from camcli.pipeline.batching import BatchExplainer
from camcli.pipeline.crash_guard import CrashQuarantine
from camcli.pipeline.cuda_render import make_finisher
from camcli.pipeline.folder import earlier_header, open_folder
from camcli.pipeline.header import make_header, now
from camcli.pipeline.items import Explanation, Failed, Loaded, pixel_bytes
from camcli.pipeline.loader import make_loader
from camcli.pipeline.read_ahead import read_ahead
from camcli.pipeline.recording import Recording, record
from camcli.pipeline.scale_sample import sample_limits
from camcli.pipeline.setup import Decide, Setup, in_run_folder, prepare
from camcli.pipeline.writer import Drawer
from camcli.schemas.index import Header, ImageRow, Timing
from camcli.storage import is_remote

if TYPE_CHECKING:
    from pandas import DataFrame

STAGES = ("decode", "preprocess", "model", "render", "encode", "write")


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        status: ``complete``, ``interrupted`` or ``aborted``.
        run_dir: the run folder.
        counts: as in the index.
        explained: images explained now; the others were there from an earlier start.
        timing: as in the index: seconds since the command started, images per second, busy seconds of each stage.
        signal: the signal that interrupted the run.
        instead_of: what the default run folder holds, where the run is therefore in another one.
        unmerged: whether this is one shard, and the whole run has no index yet.
        ends_others: whether another exit code than 0 would end processes that explain other shards.
    """

    status: FinalStatus
    run_dir: Path
    counts: dict[str, int]
    explained: int
    timing: Timing
    signal: int | None = None
    instead_of: str | None = None
    unmerged: bool = False
    ends_others: bool = False

    def frame(self) -> DataFrame:
        """The index as a pandas DataFrame: a row a map, with the columns of ``--csv``.

        Raises:
            ImportError: pandas is not installed.
            SourceError: this was one shard, and the whole run has no index yet.
        """
        if self.unmerged:
            raise no_finished_run(self.run_dir)
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("summary.frame() needs pandas, which is not installed: pip install pandas.") from error
        return DataFrame.from_records(list(table_of(read_index_items(self.run_dir))), columns=list(COLUMNS))

    @property
    def exit_code(self) -> int:
        """As documented: 0, 1, 3, or 128 and the number of the signal."""
        if self.signal is not None:
            return 128 + self.signal
        if self.status == "aborted":
            return 1
        return 3 if self.counts["failed"] and not self.ends_others else 0


def _nothing(setup: Setup) -> None:
    """What a watcher that prints nothing wants to know of a setup."""


class Watcher:
    """Receives the events of a run; the command line prints them. This one ignores them."""

    def compiling(self) -> None:
        """The prefix of the network is about to be compiled, which takes a while."""

    def choosing(self, line: str) -> None:
        """A method is being chosen by a trial, and this is how far it is."""

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        """Everything is decided; the first image comes next."""

    def describe(self) -> Callable[[Setup], Any]:
        """A function that may be sent to another machine; :meth:`ready_elsewhere` gets what it returns there."""
        return _nothing

    def ready_elsewhere(self, config: RunConfig, description: Any, notes: Sequence[str]) -> None:
        """As ``ready``, where the model is on other machines."""

    def elsewhere(self, note: str) -> None:
        """The default run folder holds something else, and the run is in another; ``ready`` gets the note as well."""

    def note(self, line: str) -> None:
        """Something happened that the user should know, and the run goes on."""

    def row(self, row: ImageRow) -> None:
        """The row of an image is in the journal."""

    def skipped(self, count: int) -> None:
        """So many images were explained by an earlier run of the same command."""

    def inside(self, method: str, done: int, total: int) -> None:
        """A slow method has done ``done`` of ``total`` passes of a batch."""


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = ("cam", "run"),
    stop: Stop | None = None,
    watch: Watcher | None = None,
    decide: Decide | None = None,
) -> Summary:
    """Explain images into a run folder: what ``cam run`` does once it is clear how ``--method best`` is decided.

    A folder of the same configuration is continued: images that have a row there are not explained again.

    Args:
        config: the settings.
        command: recorded in the index.
        stop: ends the run after the images in flight.
        watch: receives the events of the run.
        decide: chooses the method for ``--method best``.

    Raises:
        UsageError: something is wrong with the configuration; found before any image is explained.
        OutputError: the run folder cannot be written. What was journalled before stays valid.
    """
    started = time.perf_counter()
    watch = watch or Watcher()
    with prepared(config, watch, decide) as setup:
        header = make_header(setup, command)
        with open_folder(config, header, setup.sources) as folder:
            setup = in_run_folder(setup, folder.path)
            if folder.instead_of is not None:
                watch.elsewhere(folder.notes[0])
            watch.ready(setup, [*setup.tuning.notes, *folder.notes])
            stream = Stream(setup, folder, Stop() if stop is None else stop, watch, started)
            return stream.run(in_folder(header, folder.path))


@contextmanager
def prepared(
    config: RunConfig, watch: Watcher, decide: Decide | None, recorded: Header | None = None
) -> Iterator[Setup]:
    """Everything that is decided before the first image, and inside, the model as it runs.

    Args:
        config, watch, decide: as in :func:`run`.
        recorded: the header of the run that is continued; without it, it is read from the run folder.

    Raises:
        UsageError: something is wrong with the configuration.
    """
    setup = prepare(config, recorded or earlier_header(config), watch.inside, decide)
    if config.compile:
        watch.compiling()
    with setup.model.prepared(), at_speed(setup) as setup, pillow_limits(max_pixels=config.max_pixels):
        if config.parsed.scale.sample and not setup.limits:
            setup = replace(setup, limits=sample_limits(setup, Clock(STAGES)))
        yield setup


class Stream:
    """One run of the stream into an open run folder.

    Args:
        setup: what was decided.
        folder: the run folder.
        stop: ends the run after the images in flight.
        watch: receives the events of the run.
        started: when the command started, by ``time.perf_counter``.
        recording: where rows go; None: as the folder says.
        entries: the images; None: those of the setup.
    """

    def __init__(
        self,
        setup: Setup,
        folder: RunFolder | UnitFolder,
        stop: Stop,
        watch: Watcher,
        started: float,
        recording: Recording | None = None,
        entries: Iterable[Entry] | None = None,
    ) -> None:
        self.setup, self.folder, self.stop, self.watch, self.started = setup, folder, stop, watch, started
        self.clock = Clock(STAGES)
        self.explained = 0
        self.ended: FinalStatus | None = None  # set when no further image is to be explained
        self.entries = setup.sources.with_contents() if entries is None else entries
        self.recording = recording or record(folder, setup.config, setup.batch_size)

    def run(self, header: Header) -> Summary:
        """Run the stream, then write the index, whatever happened."""
        entries = self._entries()
        self.stop.flowing = True
        try:
            self._run_stream(entries)
        except BaseException as error:
            self.ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "aborted"
            # What stopped the run (a full disk, say) may stop the index too; the first error is the one to report.
            with suppress(OutputError):
                self._finish(header, entries)
            raise
        return self._finish(header, entries)

    def _run_stream(self, entries: Iterator[Entry]) -> None:
        setup, threads = self.setup, self.setup.workers
        load = make_loader(setup, self.clock)
        draw = Drawer(setup, self.folder.writer, self.clock)
        ahead = 2 * setup.batch_size + threads
        # Into an object store each artefact waits for an answer: more are on their way at once.
        uploads = setup.config.connections if is_remote(str(self.folder.path)) else 0
        in_flight = 2 * ahead + 4 * setup.batch_size  # two windows of threads, three batches explained, one incomplete
        in_flight += 2 * uploads + self.recording.most_lost
        quarantine = CrashQuarantine(load.decode, in_flight if self.folder.abandoned else 0, lambda: self._is_ending)
        with (
            opencv_in_one_thread(),
            ThreadPoolExecutor(threads, "load", lower_priority) as loaders,
            ThreadPoolExecutor(max(threads, uploads), "draw", lower_priority) as drawers,
            closing(quarantine.test_entries(entries)) as tested,
            closing(read_ahead(tested, setup.config.connections)) as fetched,
            closing(in_order(loaders, quarantine.wrap_loader(load), fetched, ahead, pixel_bytes)) as loaded,
            closing(self._explain(loaded)) as explained,
            closing(in_order(drawers, draw, explained, max(ahead, 2 * uploads), pixel_bytes)) as rows,
        ):
            for entry, row in rows:
                self._record(entry, row)

    def _explain(self, loaded: Iterator[Loaded | Failed]) -> Generator[Explanation | Failed, None, None]:
        explainer = BatchExplainer(self.setup, self.clock)
        # On a CPU the threads share the model's cores: a thread for the model is no faster.
        if self.setup.device.type == "cpu":
            return explainer.stream(loaded, lambda: self._is_ending)
        return explainer.stream_ahead(loaded, lambda: self._is_ending, make_finisher(self.setup, self.clock))

    @property
    def _is_ending(self) -> bool:
        return self.ended is not None or bool(self.stop)

    def _entries(self) -> Iterator[Entry]:
        """The images that are still to be explained, without those that an earlier start finished."""
        for entry in self.entries:
            if self._is_ending and not self.recording.needs_all:
                return
            if not self.recording.owns(entry):
                continue
            if self.recording.is_done(entry):
                self.watch.skipped(1)
            elif not self._is_ending:
                yield entry

    def _record(self, entry: Entry, row: ImageRow) -> None:
        self.recording.add(entry, row)
        self.explained += 1
        self.watch.row(row)
        if row["status"] == "failed" and self.setup.config.fail_fast:
            self.ended = "aborted"

    def _finish(self, header: Header, entries: Iterator[Entry]) -> Summary:
        folder, setup, signal = self.folder, self.setup, self.stop.signal
        status = self.ended or ("interrupted" if signal is not None else "complete")
        if self._is_ending and self.recording.needs_all:
            for _ in entries:
                pass
        seconds = round(time.perf_counter() - self.started, 3)
        rate = round(self.explained / seconds, 3) if seconds else 0.0
        timing: Timing = {"seconds": seconds, "images_per_second": rate, "stages": self.clock.seconds()}
        ending = Ending(status, now(), timing, setup.sources.passed_over)
        counts = self.recording.end(header, ending, self.explained)
        return Summary(status, folder.path, asdict(counts), self.explained, timing, signal, folder.instead_of)
