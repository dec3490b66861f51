"""Which images of a run are done, and where the rows of the others go: a journal, or files of units."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from camcli.config.settings import RunConfig
from camcli.errors import OutputError, ResumeError
from camcli.images import Entry, was_replaced
from camcli.output import (
    WHOLE,
    Counts,
    Ending,
    RunFolder,
    SizeOf,
    TarWriter,
    UnitError,
    UnitFolder,
    UnitRows,
    artefacts_intact,
    end_shard,
    end_units,
    parse_row,
    read_index_header,
    row_line,
    sizes_in,
    write_index,
    write_tables,
)
from camcli.output.index import Rows
from camcli.output.row_keys import is_named, names_of
from camcli.output.whole_journal import WholeJournal
from camcli.schemas.index import Header, ImageRow

_NOT_REACHED = -1


class Recording(Protocol):
    """Where the rows of a run go.

    Attributes:
        needs_all: whether :meth:`is_done` must be asked for every image, also when no other is explained any more.
        most_lost: how many rows that were added are lost at most when the process is killed.
    """

    needs_all: bool
    most_lost: int

    def owns(self, entry: Entry) -> bool:
        """Whether an image is explained by this process."""

    def is_done(self, entry: Entry) -> bool:
        """Whether an image has a row that stands; asked once, in the order of the images."""

    def add(self, entry: Entry, row: ImageRow) -> None:
        """Add the row of an image, whose artefacts are in place."""

    def end(self, header: Header, ending: Ending, explained: int) -> Counts:
        """Write the index, after the last row; ``explained`` images were added."""


def record(folder: RunFolder | UnitFolder, config: RunConfig, batch_size: int) -> Recording:
    """Where the rows of a run go, by its folder."""
    if isinstance(folder, UnitFolder):
        return _InUnits(folder, config)
    return _InJournal(folder, config, batch_size)


def row_stands(
    row: ImageRow, entry: Entry, run_dir: Path, *, retry_failed: bool, size_of: SizeOf | None = None
) -> bool:
    """Whether what a row says of an image still holds, so that it need not be explained again."""
    if row["status"] == "failed" and retry_failed:
        return False
    if was_replaced(entry, row["bytes"]):
        return False
    return row["status"] != "ok" or artefacts_intact(run_dir, row, size_of)


class _InJournal:
    most_lost = 0

    def __init__(self, folder: RunFolder, config: RunConfig, batch_size: int) -> None:
        self._folder, self._config, self._batch_size = folder, config, batch_size
        self.needs_all = folder.resumed  # the index also has what earlier starts finished
        # Where the journal has the row of each image, by the image's position in the input: 8 bytes an image. Of a run
        # that was not started before, nothing: its rows are appended in the order of the input.
        self._offsets = array("q")

    def owns(self, entry: Entry) -> bool:
        return self._folder.owns(entry.ordinal, self._batch_size)

    def is_done(self, entry: Entry) -> bool:
        if not self._folder.resumed:
            return False
        row = self._folder.journal.find(entry.source, entry.image)
        stands = row is not None and row_stands(
            row.item, entry, self._folder.path, retry_failed=self._config.retry_failed
        )
        self._keep_offset(entry, row.offset if stands and row is not None else _NOT_REACHED)
        return stands

    def add(self, entry: Entry, row: ImageRow) -> None:
        self._keep_offset(entry, self._folder.journal.append(row))

    def end(self, header: Header, ending: Ending, explained: int) -> Counts:
        folder = self._folder
        rows: Rows = folder.journal
        if folder.resumed:
            order = folder.journal.compact(offset for offset in self._offsets if offset != _NOT_REACHED)
            rows = folder.journal.in_order(order)
        header = {**header, "started": folder.journal.header["started"]}
        if folder.resumed and not explained and folder.shard is None:
            ending = _unchanged(folder.path, ending)
        if folder.shard is None:
            counts = write_index(folder.path, header, rows, ending)
        else:
            counts = end_shard(folder, header, rows, ending)
        write_tables(self._config.csv, self._config.parquet, rows)
        return counts

    def _keep_offset(self, entry: Entry, offset: int) -> None:
        if not self._folder.resumed:
            return
        while len(self._offsets) <= entry.ordinal:
            self._offsets.append(_NOT_REACHED)
        self._offsets[entry.ordinal] = offset


class _InUnits:
    needs_all = False

    def __init__(self, folder: UnitFolder, config: RunConfig) -> None:
        self._folder, self._config = folder, config
        # In tars a unit is done again as a whole: what is done of one image would write its tar once more.
        self._tars = folder.writer if isinstance(folder.writer, TarWriter) else None
        self._rows = UnitRows(folder.files, self._tars.write_unit if self._tars is not None else None)
        self._checked = -1
        self._size_of = sizes_in(folder.path)
        self.most_lost = folder.files.size

    def owns(self, entry: Entry) -> bool:
        return self._folder.owns(entry.ordinal)

    def is_done(self, entry: Entry) -> bool:
        if self._tars is not None:
            self._check_unit(self._folder.files.number_of(entry.ordinal))
        line = self._rows.find(entry.ordinal)
        row = None if line is None else parse_row(line)
        if row is None or not is_named(row, names_of({"image": entry.image, "source": entry.source})):
            self._rows.drop(entry.ordinal)
            return False
        size_of = self._size_of if self._tars is None else row["sizes"].get  # its tar was looked at
        stands = row_stands(row, entry, self._folder.path, retry_failed=self._config.retry_failed, size_of=size_of)
        if not stands:
            self._rows.drop(entry.ordinal)
        return stands

    def _check_unit(self, number: int) -> None:
        """Forget that a unit was done where its tar is not whole, or holds images that are to be tried again."""
        files = self._folder.files
        if number == self._checked or number not in files.done:
            return
        self._checked = number
        with suppress(UnitError):  # damaged: it is forgotten below
            lines = files.read(number)
            rows = [row for row in map(parse_row, lines) if row is not None]
            retry = self._config.retry_failed and any(row["status"] == "failed" for row in rows)
            if not retry and self._tars is not None and self._tars.is_whole(number, lines, self._size_of):
                return
        files.done.discard(number)

    def add(self, entry: Entry, row: ImageRow) -> None:
        self._rows.add(entry.ordinal, row_line(row))

    def end(self, header: Header, ending: Ending, explained: int) -> Counts:
        folder = self._folder
        header = {**header, "started": folder.plan.header["started"]}
        if folder.resumed and not explained and folder.shard == WHOLE:
            ending = _unchanged(folder.path, ending)
        counts = end_units(folder, header, ending)
        rows: Rows = folder.files
        if ending.status == "complete" and folder.shard == WHOLE:
            rows = WholeJournal(folder.path, durable=folder.files.durable)
        write_tables(self._config.csv, self._config.parquet, rows)
        return counts


def _unchanged(run_dir: Path, ending: Ending) -> Ending:
    """The ending as it is recorded already, of a run whose last start had nothing to do."""
    recorded = None
    with suppress(ResumeError, OutputError):  # damaged: it is written again
        recorded = read_index_header(run_dir)
    if recorded is None or recorded["timing"] is None:
        return ending
    same = recorded["status"] == ending.status and recorded["finished"] is not None
    finished = recorded["finished"] if same else ending.finished
    return replace(ending, timing=recorded["timing"], finished=finished or ending.finished)
