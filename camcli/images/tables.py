"""Images in tables: Parquet files with an image column, and data sets that Hugging Face's ``datasets`` saved on disk.

An image column holds encoded images: binary values, or structs of ``bytes`` and ``path`` as ``datasets`` writes them. A
column ``image`` of text holds paths. Rows are listed by their other columns, without the contents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camcli.errors import SourceError
from camcli.images.entry import Problem, SourceItem, TableRow, parent_name
from camcli.images.label_keys import LABEL_KEYS, label_of_value
from camcli.images.table_files import TableFile, damages, one_line, opened
from camcli.images.table_rows import version_of
from camcli.storage import StorageError, masked, without_query

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1024
_PREFERRED = ("image", "img")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read.

    Attributes:
        image: the image column.
        path: the column or field with the images' paths, of which names are made; None: rows are named by number.
        label: the column with labels; None: there is none.
        classes: names of the classes that the label column numbers; empty where labels are taken as they are.
    """

    image: str
    path: str | None
    label: str | None
    classes: tuple[str, ...]

    @property
    def listed(self) -> list[str]:
        """The columns that are read to list rows."""
        return [column for column in (self.path, self.label) if column is not None]


@dataclass(frozen=True)
class _Row:
    group: int
    row: int  # in the group
    path: str | None
    label: Any


def is_table(path: str) -> bool:
    """Whether a file is read as a table of images, by its extension."""
    return without_query(path).lower().endswith((".parquet", ".arrow"))


def check_table(path: str) -> None:
    """Open a table once, so that what is wrong with it is reported before any image is explained.

    Raises:
        SourceError: it cannot be read, pyarrow is not installed, or it is not clear which column holds the images.
    """
    with opened(path) as file:
        choose_columns(path, file.schema)


def class_names_of(path: str) -> tuple[str, ...]:
    """The names of the classes that the labels of a table number, in their order; none where it does not say."""
    with opened(path) as file:
        return choose_columns(path, file.schema).classes


def count_rows(path: str) -> int:
    """How many rows a table has."""
    with opened(path) as file:
        return sum(file.group_rows)


def from_table(path: str, prefix: str, first: int = 0) -> Iterator[SourceItem]:
    """Every row of a table; rows that cannot be listed are one image that cannot be read.

    Args:
        path: the file.
        prefix: of the names of rows without a path: ``prefix-00000003``.
        first: the number of its first row.

    Raises:
        SourceError: as :func:`check_table`, and where the store fails half-way.
    """
    version = None
    with suppress(OSError):  # opening it says what is wrong
        version = version_of(path)  # before: one that is replaced now is noticed when it is read
    with opened(path) as file:
        columns = choose_columns(path, file.schema)
        for group, count in enumerate(file.group_rows):
            listed = 0
            try:
                for row in _rows(file, columns, group, count):
                    place = TableRow(columns.image, row.group, row.row, version)
                    yield _item(path, columns, row, place, f"{prefix}-{first + listed:08d}")
                    listed += 1
            except StorageError as error:  # says nothing of the table
                raise SourceError(f"--image-path {masked(path)}: cannot be read ({error.strerror}).") from error
            except damages() as error:
                rows = f"rows {first + listed} to {first + count - 1}"
                problem = Problem("corrupt", f"the table is damaged: {rows} cannot be listed ({one_line(error)})")
                yield SourceItem(f"{prefix}-{first + listed:08d}", path, problem=problem)
            first += count


def _rows(file: TableFile, columns: Columns, group: int, count: int) -> Iterator[_Row]:
    """The rows of a group."""
    if not columns.listed:
        yield from (_Row(group, row, None, None) for row in range(count))
        return
    row = 0
    for batch in file.batches(group, columns.listed, _ROWS):
        nothing = [None] * batch.num_rows
        paths = batch[columns.image].to_pylist() if columns.path is not None else nothing
        labels = batch[columns.label].to_pylist() if columns.label is not None else nothing
        for path, label in zip(paths, labels, strict=True):
            path = path.get("path") if isinstance(path, dict) else path
            yield _Row(group, row, path or None, label)
            row += 1


def _item(path: str, columns: Columns, row: _Row, place: TableRow, name: str) -> SourceItem:
    image = name if row.path is None else row.path.replace(os.sep, "/")
    if not columns.classes:
        return SourceItem(image, path, place, parent_name(image), label_of_value(row.label))
    # As the folder of a class: by its name, or by its number where the model has as many classes.
    is_class = isinstance(row.label, int) and 0 <= row.label < len(columns.classes)
    return SourceItem(image, path, place, columns.classes[row.label] if is_class else None)


def choose_columns(path: str, schema: pa.Schema) -> Columns:
    """Which columns hold images and labels.

    Raises:
        SourceError: no column holds images, or several do and none of them is called ``image``.
    """
    features = _features(schema)
    images = [name for name in schema.names if _holds_images(name, schema.field(name).type, features.get(name))]
    preferred = [name for name in _PREFERRED if name in images]
    if not images:
        listed = ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
        raise SourceError(
            f"--image-path {masked(path)}: no column holds images; there is {listed}. One is needed of binary values "
            "(encoded images), of structs of `bytes` and `path` as Hugging Face writes them, or `image` of paths."
        )
    if len(images) > 1 and not preferred:
        raise SourceError(
            f"--image-path {masked(path)}: several columns hold images: {', '.join(images)}. The one that is called "
            "`image` is taken: rename one, or write a table with one of them."
        )
    image = (preferred or images)[0]
    label = _label_column(schema, features)
    classes = features.get(label or "", {}).get("names") or ()
    return Columns(image, _path_column(image, schema.field(image).type), label, tuple(map(str, classes)))


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What Hugging Face recorded of the columns; empty in other tables."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: of for name, of in features.items() if isinstance(of, dict)} if isinstance(features, dict) else {}


def _holds_images(name: str, kind: pa.DataType, feature: dict[str, Any] | None) -> bool:
    from pyarrow import types

    if feature is not None and "_type" in feature and feature["_type"] not in ("Image", "Value"):
        return False  # of sound or video, for instance
    if types.is_struct(kind):
        return any(_is_binary(field.type) and field.name == "bytes" for field in kind)
    return _is_binary(kind) or (_is_text(kind) and name == "image")


def _path_column(image: str, kind: pa.DataType) -> str | None:
    from pyarrow import types

    if types.is_struct(kind):
        return next((f"{image}.path" for field in kind if field.name == "path" and _is_text(field.type)), None)
    return image if _is_text(kind) else None


def _label_column(schema: pa.Schema, features: dict[str, Any]) -> str | None:
    from pyarrow import types

    kinds = {field.name: field.type for field in schema}
    named = [key for key in LABEL_KEYS if key in kinds]
    numbered = [name for name, of in features.items() if of.get("_type") == "ClassLabel" and name in kinds]
    for name in [*named, *numbered]:
        kind = kinds[name].value_type if types.is_dictionary(kinds[name]) else kinds[name]
        if types.is_integer(kind) or types.is_floating(kind) or _is_text(kind):
            return name
    return None


def _is_binary(kind: pa.DataType) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_binary_view))


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))
