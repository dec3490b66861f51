"""The content of a row of a table: read a few rows at a time, in order, and never a whole file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from camcli.errors import ImageError, SourceError
from camcli.images.entry import TableRow, Version
from camcli.images.table_files import damages, one_line, open_table
from camcli.storage import StorageError, is_remote, is_url, join, parent, version_in_store

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 16
"""Rows that are in memory together: images may have megabytes each."""
_BATCHES_KEPT = 3
"""Threads read rows nearly in their order: those of the last batches are still needed."""


def read_row(path: str, place: TableRow) -> bytes | str:
    """What the image column has in a row: the bytes of an image, or the path of its file.

    Raises:
        ImageError: ``missing`` (the table, or a value), ``changed``, ``corrupt``, ``unreadable`` (its store failed).
    """
    try:
        if not is_remote(path) and version_of(path) != place.version:
            raise replaced("table")
        value = _open_group(path, place.version, place.column, place.group).value(place.row)
    except StorageError as error:
        raise _refusal(error) from error
    except FileNotFoundError as error:
        raise ImageError("missing", f"the table is not there ({error.strerror})") from error
    except SourceError as error:
        if isinstance(error.__cause__, StorageError):
            raise _refusal(error.__cause__) from error
        raise ImageError("corrupt", f"the table is damaged ({error})") from error
    except damages() as error:
        raise ImageError("corrupt", f"the table is damaged in this row ({one_line(error)})") from error
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else _resolve(path, value.get("path"))
    elif isinstance(value, str):
        value = _resolve(path, value)
    if not isinstance(value, bytes | str):
        raise ImageError("missing", f"the column {place.column} has no image in this row (null)")
    return value


def replaced(what: str) -> ImageError:
    """The error of an image whose tar or table is another one than was listed."""
    message = f"the {what} was changed or replaced since it was listed; explain it again with --retry-failed"
    return ImageError("changed", message)


def _refusal(error: StorageError) -> ImageError:
    """What a store that fails means for the image that is asked for; the next one is tried anew."""
    if error.cause == "missing":
        return ImageError("missing", "the table is not there")
    return ImageError("unreadable", f"the table cannot be read: {error.strerror}")


def _resolve(table: str, path: Any) -> str | None:
    """A path in a table: relative to the folder that holds it."""
    if not isinstance(path, str) or not path:
        return None
    if is_remote(table):
        return join(parent(table), path)
    return path if is_url(path) else os.path.join(os.path.dirname(os.path.abspath(table)), path)


def version_of(path: str) -> Version | None:
    """What tells a table from another one in its place; None of a web server that says nothing. Raises OSError."""
    if is_remote(path):
        return version_in_store(path)
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


class _Group:
    """The image column of one group of rows; read forwards, and from its beginning where an earlier row is needed."""

    def __init__(self, path: str, column: str, group: int) -> None:
        self._file = open_table(path)
        self._column, self._group = column, group
        self._lock = Lock()
        self._damage: tuple[int, str] | None = None  # from which row on nothing can be read, and why
        self._begin()

    def value(self, row: int) -> Any:
        """Bytes, a struct of them and a path, a path, or None."""
        with self._lock:
            if self._kept and row < self._kept[0][0]:
                self._begin()
            if self._damage is not None and row >= self._damage[0]:
                raise ValueError(self._damage[1])
            while row >= self._end:
                self._advance()
            first, values = next(one for one in reversed(self._kept) if one[0] <= row)
            return values[row - first].as_py()

    def _advance(self) -> None:
        try:
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError(f"its group of rows ends after {self._end}")
        except StorageError:  # may pass
            self._begin()
            raise
        except damages() as error:
            self._damage = self._end, one_line(error)
            self._begin()
            raise
        self._kept.append((self._end, batch.column(0)))
        self._end += batch.num_rows

    def _begin(self) -> None:
        self._batches: Iterator[pa.RecordBatch] = self._file.batches(self._group, [self._column], _ROWS)
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_BATCHES_KEPT)
        self._end = 0


@lru_cache(maxsize=4)  # of several threads at the border of two groups
def _open_group(path: str, version: Version | None, column: str, group: int) -> _Group:
    """A group of a file as it was listed: a file that was replaced is another one.

    Of a file in a store that is asked here, and not for each row: it is a request.
    """
    if is_remote(path) and version_of(path) != version:
        raise replaced("table")
    return _Group(path, column, group)
