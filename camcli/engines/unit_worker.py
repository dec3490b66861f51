"""A worker that explains units of a run, one after the other, with one model; where it runs is not its business."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camcli._version import __version__
from camcli.concurrency import Stop, keep_freed_memory
from camcli.config.settings import RunConfig
from camcli.errors import CamError, ConfigError
from camcli.images import Entry
from camcli.output import (
    ArtefactWriter,
    Counts,
    Ending,
    FinalStatus,
    Plan,
    TarWriter,
    UnitFiles,
    UnitFolder,
    UnitRows,
    row_line,
    unit_writer,
)
from camcli.schemas.index import Header, ImageRow, Timing
from camcli.storage import run_path

if TYPE_CHECKING:
    from camcli.pipeline.setup import Decide, Setup


@dataclass(frozen=True)
class Place:
    """Where the head of a run is; its workers must find the same files there.

    Attributes:
        folder: the working directory.
        modules: where modules are searched for.
        version: of this package.
    """

    folder: str
    modules: tuple[str, ...]
    version: str = __version__

    @classmethod
    def here(cls) -> Place:
        """That of this process."""
        return cls(os.getcwd(), tuple(sys.path))


@dataclass(frozen=True)
class Ready:
    """A worker that has its model.

    Attributes:
        header: the top-level fields of the index.
        description: what the watcher of the head wanted to know of the setup.
        notes: what the user should know.
        node: the machine.
    """

    header: Header
    description: Any
    notes: tuple[str, ...]
    node: str


@dataclass(frozen=True)
class Refused:
    """An error that people should see, as the worker met it."""

    message: str
    exit_code: int

    @property
    def error(self) -> CamError:
        """The same error again."""
        error = CamError(self.message)
        error.exit_code = self.exit_code
        return error


@dataclass(frozen=True)
class Done:
    """What a worker says of a unit.

    Attributes:
        status: ``aborted`` where an image failed and the run stops then.
        sha256: of the file of the unit; None where it was not written.
        timing: as in the index.
        node: the machine.
        failed: the row of the image that stopped the run.
    """

    status: FinalStatus
    sha256: str | None
    timing: Timing
    node: str
    failed: ImageRow | None = None


@dataclass(frozen=True)
class Survived:
    """What a worker says of an image that it was given alone."""


class UnitWorker:
    """Explains units; every method returns a :class:`Refused` instead of raising a CamError.

    Args:
        config: the settings, of a run without shards.
        command: recorded in the index.
        place: where the head is.
    """

    def __init__(self, config: RunConfig, command: Sequence[str], place: Place) -> None:
        self._config, self._command, self._place = config, tuple(command), place
        self._stack = ExitStack()
        self._setup: Setup | None = None
        self._header: Header | None = None

    def prepare(
        self, recorded: Header | None, describe: Callable[[Setup], Any] | None, decide: Decide | None = None
    ) -> Ready | Refused:
        """Load the model and decide everything; see :func:`camcli.pipeline.setup.prepare`."""
        try:
            self._go_to_place()
            from camcli.pipeline.header import make_header
            from camcli.pipeline.stream import Watcher, prepared

            keep_freed_memory()
            watch = Watcher()
            setup = self._stack.enter_context(prepared(self._config, watch, decide, recorded))
        except CamError as error:
            return Refused(str(error), error.exit_code)
        self._setup, self._header = setup, make_header(setup, self._command)
        description = None if describe is None else describe(setup)
        return Ready(self._header, description, tuple(setup.tuning.notes), platform.node())

    def explain(
        self,
        plan: Plan,
        number: int,
        entries: Sequence[Entry],
        earlier: Mapping[int, bytes],
        fatal: Sequence[tuple[Entry, ImageRow]] = (),
    ) -> Done | Refused:
        """Explain images of a unit, and write its file.

        Args:
            plan: of the run.
            number: of the unit.
            entries: those of its images that have no row that stands.
            earlier: the rows of the others, by their places in the unit.
            fatal: those that no worker survives, with their rows.
        """
        files, writer = self._open(plan)
        recording = _OfOneUnit(files, writer.write_unit if isinstance(writer, TarWriter) else None)
        try:
            recording.begin(number, earlier)
            for entry, row in fatal:
                recording.add(entry, row)
            status, timing, failed = self._run(files, writer, entries, recording)
            content = b"\n".join(files.read(number)) if status == "complete" else None
        except CamError as error:
            return Refused(str(error), error.exit_code)
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        return Done(status, digest, timing, platform.node(), failed if status == "aborted" else None)

    def explain_alone(self, plan: Plan, entry: Entry) -> Survived | Refused:
        """Explain one image of a unit that has ended workers, to see whether this one survives; no row is written."""
        files, writer = self._open(plan)
        try:
            self._run(files, writer, [entry], _Forgetful(files))
        except CamError as error:
            return Refused(str(error), error.exit_code)
        return Survived()

    def _go_to_place(self) -> None:
        if self._place.version != __version__:
            raise ConfigError(
                f"{platform.node()} has version {__version__} of cambatch, and the machine that leads the run has "
                f"{self._place.version}. Install the same version on all."
            )
        try:
            os.chdir(self._place.folder)
        except OSError as error:
            raise ConfigError(
                f"the working directory {self._place.folder} is not there on {platform.node()} ({error.strerror}). "
                "Start the run in a folder of the file system that all machines of the cluster share."
            ) from error
        sys.path[:] = dict.fromkeys((*self._place.modules, *sys.path))

    def _open(self, plan: Plan) -> tuple[UnitFiles, ArtefactWriter | TarWriter]:
        path, durable = run_path(self._config.run_dir), self._config.durable
        return UnitFiles(path, plan, durable=durable), unit_writer(path, plan, durable)

    def _run(
        self, files: UnitFiles, writer: ArtefactWriter | TarWriter, entries: Sequence[Entry], recording: _OfOneUnit
    ) -> tuple[FinalStatus, Timing, ImageRow | None]:
        from camcli.pipeline.stream import Stream, Watcher

        class Witness(Watcher):
            failed: ImageRow | None = None

            def row(self, row: ImageRow) -> None:
                if row["status"] == "failed":
                    self.failed = row

        assert self._setup is not None
        assert self._header is not None
        folder = UnitFolder(path=files.path, files=files, writer=writer)
        witness = Witness()
        stream = Stream(self._setup, folder, Stop(), witness, time.perf_counter(), recording, entries)
        summary = stream.run(self._header)
        return summary.status, summary.timing, witness.failed


class _OfOneUnit:
    """Rows of a unit, which is written once it is whole."""

    needs_all, most_lost = False, 0

    def __init__(self, files: UnitFiles, write_tar: Callable[[int, Sequence[bytes]], None] | None = None) -> None:
        self._rows = UnitRows(files, write_tar)

    def owns(self, entry: Entry) -> bool:
        return True

    def is_done(self, entry: Entry) -> bool:
        return False

    def begin(self, number: int, earlier: Mapping[int, bytes]) -> None:
        self._rows.begin(number, earlier)

    def add(self, entry: Entry, row: ImageRow) -> None:
        self._rows.add(entry.ordinal, row_line(row))

    def end(self, header: Header, ending: Ending, explained: int) -> Counts:
        return Counts()


class _Forgetful(_OfOneUnit):
    """Keeps no row."""

    def add(self, entry: Entry, row: ImageRow) -> None:
        pass
