"""Which input belongs to which row of a run: inputs in their order, rows in theirs, neither kept as a whole."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from camcli.checks.recorded import RecordedRun
from camcli.checks.run_paths import as_typed, locate, started_in
from camcli.errors import SourceError
from camcli.images import Entry, Sources
from camcli.output import Journal, true_name
from camcli.schemas.index import Header, ImageRow

_REPEATED = re.compile(r"#\d+\Z")


class Originals:
    """The inputs of a run as they are now.

    Args:
        run_dir: its folder.
        header: the top-level fields of its index.
        journal: its rows.
    """

    def __init__(self, run_dir: Path, header: Header, journal: Journal) -> None:
        self._run, self._journal = RecordedRun(run_dir, header, [], 0), journal
        paths = [locate(self._run, path) for path in header["config"]["image_path"] if path != "-"]
        self._sources = Sources([path for path in paths if _is_there(path)], exclude=run_dir)

    def pair(self, rows: Sequence[int]) -> Generator[tuple[int, Entry | None], None, None]:
        """The input of each row, by the offsets of the rows, in their order; None where there is none any more."""
        wanted = set(rows)
        there = {offset for offset, _ in self._entries() if offset in wanted}
        passed: dict[int, Entry] = {}  # inputs that come before those of the rows before theirs
        waiting = iter(array("q", rows))
        offset = next(waiting, None)
        for found, entry in self._entries():
            if found in wanted:
                passed[found] = entry
            while offset is not None and (offset in passed or offset not in there):
                yield offset, passed.pop(offset, None)
                offset = next(waiting, None)
        while offset is not None:
            yield offset, passed.pop(offset, None)
            offset = next(waiting, None)

    def from_stdin(self, row: ImageRow) -> Entry | None:
        """The input of a row whose path came from standard input: relative to where the run was started."""
        image = true_name(row, "image")
        start = started_in(self._run) or os.getcwd()
        for name in (image, _REPEATED.sub("", image)):
            if os.path.lexists(path := os.path.join(start, name)):
                return Entry(image, path, ordinal=0, source="-", source_slug="stdin")
        return None

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        for entry in as_typed(self._run, self._sources):
            offset = self._journal.offset_of(entry.source, entry.image)
            if offset is not None:
                yield offset, entry


def _is_there(path: str) -> bool:
    try:
        Sources([path])
    except SourceError:
        return False
    return True
