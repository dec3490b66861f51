"""The rows of a run, finished or not, one by one; nothing of the folder is changed."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcli.checks.recorded import open_index
from camcli.errors import CamError, SourceError
from camcli.output import INDEX_NAME, JOURNAL_NAME, SCHEMA, folder_on_disk, no_finished_run
from camcli.schemas.index import Header

Row = dict[str, Any]
"""An item of the index. A version of cam may have written it that had fewer fields."""


@dataclass(frozen=True)
class RunRows:
    """A run folder, opened for reading.

    Attributes:
        path: the folder.
        header: the top-level fields of the index; of a run that has not ended, those of the journal.
        count: images that were recorded.
    """

    path: Path
    header: Header
    count: int
    _journal: dict[tuple[str, str], int] | None

    def __iter__(self) -> Iterator[Row]:
        if self._journal is not None:
            yield from self._from_journal(self._journal)
            return
        with (self.path / INDEX_NAME).open(encoding="utf-8") as file:
            try:
                for row in open_index(self.path, file)[1]:
                    yield dict(row)
            except (ValueError, KeyError, TypeError) as error:
                raise _damaged(self.path / INDEX_NAME, error) from error

    def _from_journal(self, offsets: dict[tuple[str, str], int]) -> Iterator[Row]:
        with (self.path / JOURNAL_NAME).open("rb") as file:
            for offset in offsets.values():
                file.seek(offset)
                yield json.loads(file.readline())


def open_rows(path: str | Path) -> RunRows:
    """Open a run folder: its index; where a run goes on or was killed, its journal as far as it is written.

    Raises:
        SourceError: no run is there, or another version of cam wrote it.
    """
    folder = folder_on_disk(path)
    try:
        if (folder / INDEX_NAME).is_file():
            with (folder / INDEX_NAME).open(encoding="utf-8") as file:
                header, rows = open_index(folder, file)
                return RunRows(folder, header, sum(1 for _ in rows), None)
        if (folder / JOURNAL_NAME).is_file():
            return _open_journal(folder)
    except CamError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error
    raise no_finished_run(folder)


def _open_journal(folder: Path) -> RunRows:
    """The last whole line of each image counts; a torn tail is not read."""
    offsets: dict[tuple[str, str], int] = {}
    with (folder / JOURNAL_NAME).open("rb") as file:
        first = file.readline()
        header = json.loads(first)
        if header.get("schema") != SCHEMA:
            raise SourceError(f"{folder / JOURNAL_NAME} follows {header.get('schema')}; this version reads {SCHEMA}.")
        offset = len(first)
        for line in file:
            names = _names(line)
            if names is not None:
                offsets[names] = offset
            offset += len(line)
    return RunRows(folder, header, len(offsets), offsets)


def _names(line: bytes) -> tuple[str, str] | None:
    if not line.endswith(b"}\n"):
        return None
    try:
        row = json.loads(line)
        return row.get("source_b64", row["source"]), row.get("image_b64", row["image"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} cannot be read as a run ({error}).")


def first_rows(rows: RunRows, limit: int | None) -> Iterator[Row]:
    """The rows, or the first of them."""
    return itertools.islice(iter(rows), limit)
