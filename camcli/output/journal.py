"""The journal of a run, ``index.jsonl``: a header line, then one line per finished image, appended as the run goes.

The guarantee: when :meth:`Journal.append` has returned, the line is with the operating system, and the end of the
process, however it ends, loses nothing. A power failure or a crash of the system may lose what the system had not yet
written, normally the last seconds, because nothing waits for the disk per image; a durable journal (``--durable``)
waits, and loses nothing that was appended. In both cases a line that is only partly there is cut off before anything
is appended, and its image is explained again. For one image the last line wins.

Of a journal that is continued, memory holds only a hash and an offset per image, and of a new one nothing: a row is
read from the file when it is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from camcli.output.atomic import PORTABLE_FLAGS, naming_os_errors, write_atomically, write_fully
from camcli.output.header import JOURNAL_NAME, journal_header, read_journal_header
from camcli.output.jsontext import strict_json
from camcli.output.offsets import OffsetTable
from camcli.output.row_keys import JournalRow, is_named, key_of, key_of_line, names_of, parse_row, row_line
from camcli.schemas.index import Header, ImageRow

_READ_AT_ONCE = 1 << 14


class Journal:
    """An open journal. :meth:`append`, :meth:`find` and :meth:`read_at` may be called from several threads.

    Attributes:
        header: the header line, parsed.
        durable: whether every append waits for the disk.
    """

    def __init__(self, path: Path, header: Header, durable: bool) -> None:
        self.header = header
        self.durable = durable
        self._path = path
        self._lock = threading.Lock()
        # Where the row of each image is; None until it is needed, which is seldom in a new journal.
        self._table: OffsetTable | None = None
        self._lines = 0  # rows in the file, those that are superseded or damaged among them
        self._end = 0  # bytes in the file
        self._descriptor = -1
        self._open()

    @classmethod
    def open(cls, run_dir: str | Path, header: Header, *, durable: bool = False, name: str = JOURNAL_NAME) -> Self:
        """Continue the journal of a run folder, its torn tail cut off, or begin one with the given header.

        Args:
            run_dir: the run folder, which exists.
            header: the top-level fields of the index; used only for a new journal.
            durable: wait for the disk with every line.
            name: of the file in the folder.

        Raises:
            ResumeError: there is an ``index.jsonl`` that is not a journal of ours.
            OutputError: the system refused; the message names the file.
        """
        path = Path(run_dir) / name
        recorded = read_journal_header(run_dir, name)
        if recorded is None:
            line = strict_json(journal_header(header)) + b"\n"
            write_atomically(path, [line], durable=durable)
            recorded = json.loads(line)
        return cls(path, recorded, durable)

    def append(self, item: ImageRow) -> int:
        """Add the row of one image, after all its artefacts are in place.

        Args:
            item: the image's item of the index, with the true names under ``image`` and ``source``.

        Returns:
            The offset of its line.

        Raises:
            ValueError: a number of the item is not finite; nothing was written.
            OutputError: the system refused; the journal is as it was before.
        """
        line = row_line(item) + b"\n"
        with self._lock, naming_os_errors(self._path):
            offset = self._end
            try:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                write_fully(self._descriptor, line)
                if self.durable:
                    os.fsync(self._descriptor)
            except BaseException:
                # Where even this fails, the next line is written over the torn one, or the next open cuts it.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, offset)
                raise
            self._end = offset + len(line)
            if self._table is not None:
                self._table[key_of(names_of(item))] = offset
            self._lines += 1
        return offset

    def find(self, source: str, image: str) -> JournalRow | None:
        """The row of an image by its true name, or None where it has none that can be read.

        Raises OutputError where the journal cannot be read.
        """
        names = names_of({"image": image, "source": source})
        with self._lock:
            offset = self._offset_table().get(key_of(names))
        if offset is None:
            return None
        item = parse_row(self.read_at(offset))
        # A line that was damaged after it was written counts as missing; so does another key of equal hash.
        return JournalRow(offset, item) if item is not None and is_named(item, names) else None

    def offset_of(self, source: str, image: str) -> int | None:
        """Where the row of an image is, by its true name; the row may be damaged. Raises as :meth:`find`."""
        with self._lock:
            return self._offset_table().get(key_of(names_of({"image": image, "source": source})))

    def offsets(self) -> list[int]:
        """Where the rows are, one an image, in the order of the file; raises as :meth:`find`."""
        with self._lock:
            return [int(offset) for offset in self._offset_table().offsets()]

    def read_at(self, offset: int) -> bytes:
        """The line that begins at an offset, without its newline. Raises OutputError where it cannot be read."""
        with self._lock, naming_os_errors(self._path, "read"):
            return self._read_line(offset)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line of the file as it stands, with its offset, without its newline.

        Raises OutputError where the journal cannot be read.
        """
        with naming_os_errors(self._path, "read"), self._path.open("rb") as file:
            offset = len(file.readline())
            for line in file:
                if offset >= self._end:  # torn by an append that failed
                    return
                yield offset, line.removesuffix(b"\n")
                offset += len(line)

    def in_order(self, offsets: Iterable[int]) -> JournalRows:
        """The rows at some offsets, in their order."""
        return JournalRows(self, array("q", offsets))

    def compact(self, order: Iterable[int]) -> array[int]:
        """Rewrite the journal: the given rows in the given order, then those of other images, and nothing twice.

        Afterwards the journal of a run that was killed and continued equals that of one that was not. Nothing is
        written where that is so already.

        Args:
            order: offsets of rows, none twice.

        Returns:
            The new offsets of the same rows, in the same order; all older offsets are void.

        Raises:
            OutputError: the system refused; the file is as it was before, or wholly rewritten and the journal closed.
        """
        rows = np.fromiter(order, np.int64)
        count = len(rows)
        with self._lock:
            rows = np.concatenate([rows, np.setdiff1d(self._offset_table().offsets(), rows)])
        if len(rows) == self._lines and bool(np.all(rows[1:] > rows[:-1])):
            return array("q", rows[:count].tobytes())
        offsets = array("q")
        write_atomically(self._path, self._copy(rows, offsets), durable=self.durable)
        del rows
        self.close()
        self._open()
        return offsets[:count]

    def close(self) -> None:
        """Close the file; a second call does nothing. Raises OutputError where the system only now reports a fault."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with naming_os_errors(self._path):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        """Open the file, read where its rows are, and cut off what does not end in a whole row."""
        with naming_os_errors(self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | PORTABLE_FLAGS)
            try:
                table = self._scan()
                self._table = table if len(table) else None
                if os.fstat(self._descriptor).st_size > self._end:
                    os.ftruncate(self._descriptor, self._end)
            except BaseException:
                self.close()
                raise

    def _offset_table(self) -> OffsetTable:
        if self._table is None:
            with naming_os_errors(self._path, "read"):
                self._table = self._scan()
        return self._table

    def _scan(self) -> OffsetTable:
        """Read the whole file: where each image's row is, and where the last whole one ends."""
        table, self._lines = OffsetTable(), 0
        with self._path.open("rb") as file:
            offset = self._end = len(file.readline())
            for number, line in enumerate(file, 1):
                key = key_of_line(line)
                if key is not None:
                    table[key] = offset
                    self._end, self._lines = offset + len(line), number
                # A damaged line between whole ones stays, and is not counted: its image is explained again.
                offset += len(line)
        return table

    def _read_line(self, offset: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = b""
        while (end := data.find(b"\n")) < 0:
            more = os.read(self._descriptor, max(_READ_AT_ONCE, len(data)))
            if not more:
                return data
            data += more
        return data[:end]

    def _copy(self, rows: Iterable[int], offsets: array[int]) -> Iterator[bytes]:
        """The lines of a compacted journal; appends to `offsets` where each row will stand."""
        header = self.read_at(0) + b"\n"
        yield header
        place = len(header)
        for row in rows:
            line = self.read_at(int(row)) + b"\n"
            offsets.append(place)
            place += len(line)
            yield line


@dataclass(frozen=True)
class JournalRows:
    """Rows of an open journal, in an order of their own.

    Attributes:
        journal: the journal.
        offsets: of the rows, 8 bytes each.
    """

    journal: Journal
    offsets: array[int]

    @property
    def durable(self) -> bool:
        """Whether what is written of them waits for the disk."""
        return self.journal.durable

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each row with its offset, without its newline. Raises OutputError where the journal cannot be read."""
        for offset in self.offsets:
            yield offset, self.journal.read_at(offset)
