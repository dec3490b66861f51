"""``--csv``: the index as a flat table, one row a map.

UTF-8, comma, ``\\n``. An image without maps (one that failed, for instance) has one row, with the columns of the map
empty; empty is also what is null in the index. Numbers are written as in the index. Columns are only ever added, at the
end.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from camcli.output.index import Rows, read_items
from camcli.output.named_file import write_named_file
from camcli.output.names import FOLDERS
from camcli.schemas.index import ImageRow, MapRow

_IMAGE_COLUMNS = {
    "image": ("image",),
    "source": ("source",),
    "status": ("status",),
    "error_kind": ("error", "kind"),
    "error_message": ("error", "message"),
    "width": ("width",),
    "height": ("height",),
    "label_index": ("label", "index"),
    "label_name": ("label", "name"),
    "correct": ("correct",),
    "predicted_index": ("predictions", 0, "index"),
    "predicted_name": ("predictions", 0, "name"),
    "predicted_probability": ("predictions", 0, "probability"),
    "predicted_logit": ("predictions", 0, "logit"),
}

_MAP_COLUMNS = {
    "method": ("method",),
    "layer": ("layer",),
    "target_index": ("target", "index"),
    "target_name": ("target", "name"),
    "target_probability": ("target", "probability"),
    "target_logit": ("target", "logit"),
    "chosen_by": ("target", "chosen_by"),
    "map_status": ("status",),
    "raw_min": ("raw", "min"),
    "raw_max": ("raw", "max"),
    "raw_mean": ("raw", "mean"),
    "peak_x": ("attention", "peak", 0),
    "peak_y": ("attention", "peak", 1),
    "centroid_x": ("attention", "centroid", 0),
    "centroid_y": ("attention", "centroid", 1),
    "entropy": ("attention", "entropy"),
    "border": ("attention", "border"),
    "box_x0": ("attention", "box", 0),
    "box_y0": ("attention", "box", 1),
    "box_x1": ("attention", "box", 2),
    "box_y1": ("attention", "box", 3),
    **{kind: ("files", kind) for kind in FOLDERS},
}

COLUMNS = MappingProxyType({**_IMAGE_COLUMNS, **_MAP_COLUMNS})
"""The columns in their order, each with its place in an item or, after ``predicted_logit``, in a map of it.

A layer that is a list (fused maps) is joined by ``+``; the columns of the artefacts (``overlay``, …) hold paths
relative to the run folder.
"""


def write_csv(path: str | Path, rows: Rows) -> None:
    """Write the table: as a stream, and atomically.

    Args:
        path: the file; folders above it are created.
        rows: of the items.

    Raises:
        OutputError: the system refused, or a row is damaged; a file that was there is as it was before.
    """
    write_named_file("--csv", path, _lines(rows), durable=rows.durable)


def _lines(rows: Rows) -> Iterator[bytes]:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    yield _empty(buffer)
    for item in read_items(rows):
        of_image = [_cell(item, place) for place in _IMAGE_COLUMNS.values()]
        maps: list[MapRow] | list[None] = item["maps"] or [None]
        for one in maps:
            table.writerow(of_image + [_cell(one, place) for place in _MAP_COLUMNS.values()])
        yield _empty(buffer)


def table_of(items: Iterable[ImageRow]) -> Iterator[dict[str, Any]]:
    """The rows of the table as values of Python, by column; None where it is empty."""
    for item in items:
        of_image = {name: _value(item, place) for name, place in _IMAGE_COLUMNS.items()}
        maps: list[MapRow] | list[None] = item["maps"] or [None]
        for one in maps:
            yield of_image | {name: _value(one, place) for name, place in _MAP_COLUMNS.items()}


def _empty(buffer: io.StringIO) -> bytes:
    """Empty the buffer; what it held, in UTF-8."""
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode("utf-8")


def _cell(item: ImageRow | MapRow | None, place: tuple[str | int, ...]) -> Any:
    value = _value(item, place)
    return ("true" if value else "false") if isinstance(value, bool) else value


def _value(item: ImageRow | MapRow | None, place: tuple[str | int, ...]) -> Any:
    value: Any = item
    for step in place:
        if isinstance(step, int):
            value = value[step] if value and len(value) > step else None
        else:
            value = value.get(step) if value else None
    return "+".join(map(str, value)) if isinstance(value, list) else value
