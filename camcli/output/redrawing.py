"""A finished run folder whose pictures are drawn again: journal and index are replaced when all of them are in place.

While pictures are replaced, some are drawn anew and others not, and the index describes the old ones. A file says so:
``cam run`` refuses such a folder, and the same ``cam render`` makes it whole, wherever its process ended. Pictures that
the new index does not name any more are removed last, so that an index never names a file that is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from camcli.errors import SourceError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import naming_os_errors, sweep_temporaries, write_atomically
from camcli.output.finished import folder_on_disk, no_finished_run, unmerged_plan
from camcli.output.header import (
    INDEX_NAME,
    JOURNAL_NAME,
    journal_header,
    read_index_header,
    read_journal_header,
)
from camcli.output.index import Ending, read_index_names, write_index
from camcli.output.journal import Journal
from camcli.output.jsontext import strict_json
from camcli.output.lock import RunLock
from camcli.output.names import FOLDERS
from camcli.output.row_keys import row_line
from camcli.schemas.index import Header, ImageRow

MARK_NAME = ".cam.redraw"


class NothingDrawnError(Exception):
    """Raised by the rows given to :meth:`Redrawing.replace` where no picture was replaced; all stays as it is."""


class Redrawing:
    """A run folder that this process draws again; a context manager that releases it.

    Args:
        run_dir: the folder of a run that has an index.

    Attributes:
        path: the folder.
        journal: its rows as they are.
        writer: replaces its pictures.
        header: the top-level fields of its index.
        was_stopped: whether an earlier start has not ended, so that pictures may be of its settings.

    Raises:
        SourceError: no run has ended there.
        LockedError: another process writes the folder.
        OutputError: the system refused.
        ResumeError: the journal or the index is not ours.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.path = folder_on_disk(run_dir)
        if not (self.path / INDEX_NAME).is_file() or unmerged_plan(self.path) is not None:
            raise no_finished_run(self.path)
        self._lock = RunLock(self.path)
        try:
            index, recorded = read_index_header(self.path), read_journal_header(self.path)
            if index is None or recorded is None:
                raise SourceError(
                    f"{self.path} has no {JOURNAL_NAME}, from which its pictures are drawn. Repeat its `cam run`."
                )
            if recorded["config"].get("save_to") == "tar":
                raise SourceError(
                    f"{self.path}: its pictures are in tars (--save-to tar), which are not drawn again. Repeat its "
                    "`cam run` with the new settings and another --output-dir."
                )
            # The journal's settings: they are replaced first.
            self.header: Header = {
                **index, "config": recorded["config"], "render_fingerprint": recorded["render_fingerprint"]
            }  # fmt: skip
            sweep_temporaries(self.path, FOLDERS.values())
            self.was_stopped = is_half_drawn(self.path)
            self._stale = self._recorded_stale()
            self.writer = ArtefactWriter(self.path)
            self.journal = Journal.open(self.path, recorded)
        except BaseException:
            self._lock.release()
            raise

    def rows(self) -> list[int]:
        """Where the journal has each row: those of the index first, in its order."""
        everywhere = self.journal.offsets()
        counts = self.header["counts"]
        if counts is not None and counts["images"] == len(everywhere):
            return everywhere
        listed = [self.journal.offset_of(source, image) for source, image in read_index_names(self.path)]
        first = dict.fromkeys(offset for offset in listed if offset is not None)
        return [*first, *(offset for offset in everywhere if offset not in first)]

    def replace(self, header: Header, rows: Iterable[tuple[ImageRow, ImageRow]]) -> Journal:
        """Write a journal and an index of new rows; each comes with the one before it, once its pictures are written.

        Args:
            header: the top-level fields of the new index.
            rows: (before, after) of each image, in the order of :meth:`rows`; iterating it draws the pictures.

        Returns:
            The new journal, open; :meth:`close` closes it.

        Raises:
            NothingDrawnError: as the rows raised it.
        """
        self._mark()
        counts = self.header["counts"]
        try:
            write_atomically(self.path / JOURNAL_NAME, self._lines(header, rows))
        except NothingDrawnError:
            if not self.was_stopped:
                self._unmark()
            raise
        self.journal.close()
        self.journal = Journal.open(self.path, header)
        order = self.journal.offsets()
        listed = min(len(order), counts["images"]) if counts is not None else len(order)
        timing = self.header["timing"] or {"seconds": 0.0, "images_per_second": 0.0, "stages": {}}
        status, over = self.header["status"], counts["passed_over"] if counts is not None else 0
        assert status != "running"  # of an index
        ending = Ending(status, self.header["finished"] or "", timing, over)
        write_index(self.path, header, self.journal.in_order(order[:listed]), ending)
        self._remove_stale()
        return self.journal

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        self.journal.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lines(self, header: Header, rows: Iterable[tuple[ImageRow, ImageRow]]) -> Iterator[bytes]:
        """The new journal; notes which files are not named in it any more."""
        yield strict_json(journal_header(header)) + b"\n"
        for before, after in rows:
            self._stale |= before["sizes"].keys()
            self._stale -= after["sizes"].keys()
            yield row_line(after) + b"\n"
        self._mark()  # the journal that names them is about to be replaced

    def _mark(self) -> None:
        write_atomically(self.path / MARK_NAME, [strict_json(sorted(self._stale)) + b"\n"])

    def _recorded_stale(self) -> set[str]:
        """What an earlier start had still to remove."""
        with contextlib.suppress(OSError, ValueError):
            names = json.loads((self.path / MARK_NAME).read_text("utf-8"))
            return {name for name in names if isinstance(name, str)}
        return set()

    def _remove_stale(self) -> None:
        for name in self._stale:
            if name.startswith(tuple(f"{folder}/" for folder in FOLDERS.values())) and ".." not in name.split("/"):
                path = os.path.join(self.path, os.fsdecode(name.encode("utf-8")))
                with naming_os_errors(path, "remove"):
                    _remove(path, os.fspath(self.path))
        self._unmark()

    def _unmark(self) -> None:
        with naming_os_errors(self.path / MARK_NAME):
            os.unlink(self.path / MARK_NAME)


def is_half_drawn(run_dir: str | Path) -> bool:
    """Whether a ``cam render`` of a run folder has not ended."""
    return os.path.lexists(Path(run_dir) / MARK_NAME)


def _remove(path: str, top: str) -> None:
    """Remove a file, and the folders above it that this leaves empty."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    folder = os.path.dirname(path)
    with contextlib.suppress(OSError):  # not empty
        while len(folder) > len(top):
            os.rmdir(folder)
            folder = os.path.dirname(folder)
