"""``--parquet``: the rows of ``--csv`` as a Parquet file, each column of one type; read by pyarrow (extra ``parquet``).

The columns and their meaning are those of :mod:`.csv_table`; what is empty there is null here. A file has row groups of
some thousand rows, so that it is written and can be read without holding all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camcli.errors import ConfigError
from camcli.output.csv_table import COLUMNS, table_of, write_csv
from camcli.output.index import Rows, read_items
from camcli.output.named_file import write_named_file

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 16_384
"""In a row group."""
_INTEGERS = ("width", "height", "label_index", "predicted_index", "target_index")
_NUMBERS = (
    "predicted_probability", "predicted_logit", "target_probability", "target_logit", "raw_min", "raw_max", "raw_mean",
    "peak_x", "peak_y", "centroid_x", "centroid_y", "entropy", "border", "box_x0", "box_y0", "box_x1", "box_y1",
)  # fmt: skip
_BOOLEANS = ("correct",)


def require_parquet() -> None:
    """Raises ConfigError where no Parquet file can be written."""
    try:
        import pyarrow.parquet  # noqa: F401 - whether it can be imported
    except ImportError as error:
        raise ConfigError(
            "--parquet: a Parquet file is written by pyarrow, which is not installed: pip install pyarrow (the extra "
            "parquet: pip install 'cambatch[parquet]')."
        ) from error


def write_tables(csv: str | Path | None, parquet: str | Path | None, rows: Rows) -> None:
    """Write the index as a flat table, to the files of ``--csv`` and ``--parquet``.

    Args:
        csv, parquet: the files; None: not this one.
        rows: of the items; read for each file.

    Raises:
        OutputError: the system refused, or a row is damaged.
    """
    if csv:
        write_csv(csv, rows)
    if parquet:
        write_parquet(parquet, rows)


def write_parquet(path: str | Path, rows: Rows) -> None:
    """Write the table: as a stream, and atomically; as :func:`.csv_table.write_csv`."""
    require_parquet()
    write_named_file("--parquet", path, _chunks(rows), durable=rows.durable)


def _chunks(rows: Rows) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema, sink, values = _schema(), _Sink(), table_of(read_items(rows))
    writer = ParquetWriter(sink, schema, compression="zstd")
    try:
        while group := list(islice(values, ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            yield sink.take()
    finally:
        writer.close()
    yield sink.take()


def _schema() -> pa.Schema:
    import pyarrow as pa

    columns = ((_INTEGERS, pa.int64()), (_NUMBERS, pa.float64()), (_BOOLEANS, pa.bool_()))
    kinds = {name: kind for names, kind in columns for name in names}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


class _Sink:
    """A file that is taken away in pieces."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._end = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._end += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._end

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """What was written stays to be taken."""

    def take(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
