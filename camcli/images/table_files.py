"""Parquet and Arrow files, read by pyarrow (extra ``parquet``): their schema, and columns a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from camcli.errors import SourceError
from camcli.storage import StorageError, is_remote, masked, open_parts, without_query

if TYPE_CHECKING:
    import pyarrow as pa

INSTALL = "pip install pyarrow (the extra parquet: pip install 'cambatch[parquet]')"
_BUFFER = 1 << 20


class TableFile(Protocol):
    """An open file of a table, whose rows are in groups.

    Attributes:
        schema: of its columns.
        group_rows: how many rows each group has.
    """

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def group_rows(self) -> Sequence[int]: ...

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Columns, or ``column.field`` of structs, of a group, each under the name of its column; at most so many rows
        at a time.
        """

    def close(self) -> None:
        """Close it."""


def require_pyarrow(path: str) -> None:
    """Raises SourceError where tables cannot be read."""
    try:
        import pyarrow.parquet  # noqa: F401 - whether it can be imported
    except ImportError as error:
        what = "a table (Parquet, Arrow, a data set of Hugging Face) is read by pyarrow, which is not installed"
        raise SourceError(f"--image-path {path}: {what}: {INSTALL}.") from error


@contextmanager
def opened(path: str) -> Iterator[TableFile]:
    """A file of a table.

    Raises:
        SourceError: it cannot be read as one.
    """
    file = open_table(path)
    try:
        yield file
    finally:
        file.close()


def open_table(path: str) -> TableFile:
    """A file of a table, which the caller closes; raises as :func:`opened`."""
    shown, is_arrow = masked(path), without_query(path).lower().endswith(".arrow")
    require_pyarrow(shown)
    if is_arrow and is_remote(path):
        raise SourceError(f"--image-path {shown}: Arrow files are read from a disk only. Copy it, or use Parquet.")
    try:
        return _Arrow(path) if is_arrow else _Parquet(path)
    except StorageError as error:
        raise SourceError(f"--image-path {shown}: cannot be read ({error.strerror}).") from error
    except damages() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise SourceError(f"--image-path {shown}: cannot be read ({error.strerror or error}).") from error
        kind = "an Arrow" if is_arrow else "a Parquet"
        message = f"not {kind} file, or cut short ({one_line(error)}). Copy or write it again."
        raise SourceError(f"--image-path {shown}: {message}") from error


def damages() -> tuple[type[Exception], ...]:
    """What pyarrow raises where a file is damaged."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, MemoryError, SystemError)


def one_line(error: Exception) -> str:
    """The message of an error of pyarrow, which may have several lines."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


class _Parquet:
    """A Parquet file; its groups are its row groups."""

    def __init__(self, path: str) -> None:
        from pyarrow.parquet import ParquetFile

        # Without a buffer, a whole column of a row group would be in memory.
        source = open_parts(path) if is_remote(path) else path
        self._file = ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
        self.schema: pa.Schema = self._file.schema_arrow
        metadata = self._file.metadata
        self.group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        # In this thread alone: the stream has threads of its own, as many as the user wants.
        batches = self._file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)
        yield from batches

    def close(self) -> None:
        self._file.close()


class _Arrow:
    """An Arrow file, as ``datasets`` saves them, mapped into memory; all of it is one group."""

    def __init__(self, path: str) -> None:
        import pyarrow as pa

        self._mapped = pa.memory_map(path)
        try:
            table = pa.ipc.open_stream(self._mapped).read_all()  # nothing is copied: columns point into the file
        except pa.ArrowInvalid:
            self._mapped.seek(0)
            table = pa.ipc.open_file(self._mapped).read_all()
        self._table = table
        self.schema: pa.Schema = table.schema
        self.group_rows = [table.num_rows]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        assert group == 0
        import pyarrow as pa

        used = {column if column in self.schema.names else column.rpartition(".")[0] for column in columns}
        # Offsets of a damaged file lead anywhere, and nothing checks them when values are read.
        self._table.select(sorted(used)).validate(full=True)
        leaves = [self._leaf(column) for column in columns]
        selected = pa.table([values for _, values in leaves], names=[name for name, _ in leaves])
        yield from selected.to_reader(max_chunksize=rows)

    def close(self) -> None:
        """Nothing: the mapping ends with the last column that points into it."""

    def _leaf(self, column: str) -> tuple[str, Any]:
        """The name of a column, and its values or those of a field of it."""
        import pyarrow.compute as pc

        if column in self.schema.names:
            return column, self._table[column]
        name, _, field = column.rpartition(".")
        return name, pc.struct_field(self._table[name], field)
