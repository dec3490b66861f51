"""Inputs named in text: a list of paths, standard input, a CSV or JSON-lines manifest."""

import csv
import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, TextIO

from camcli.errors import SourceError
from camcli.images.entry import Box, SourceItem, parent_name
from camcli.storage import as_local, is_remote, is_url, join, masked, open_stream, parent, without_query

_BOM = b"\xef\xbb\xbf"
_IN_MEMORY = 1 << 22  # bytes of standard input that are kept without a file


class Replay:
    """The lines of a stream that can be read only once, for any number of iterations, each line as soon as it comes."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._kept = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - lives as long as this object
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        while True:
            self._kept.seek(at)
            line = self._kept.readline() or self._next_line()
            if not line:
                return
            at += len(line)
            yield line

    def _next_line(self) -> bytes:
        if self._ended:
            return b""
        stream = sys.stdin if self._stream is None else self._stream
        binary = getattr(stream, "buffer", None)
        line: bytes = binary.readline() if binary is not None else os.fsencode(stream.readline())
        if not line:
            self._ended = True
            return b""
        line = line.rstrip(b"\r\n") + b"\n"
        self._kept.seek(0, os.SEEK_END)
        self._kept.write(line)
        return line


def from_stdin(lines: Replay) -> Iterator[SourceItem]:
    """One path a line, relative to the working directory; ``image`` is relative to it where it lies below."""
    here = os.getcwd()
    for path in _paths(lines):
        inside = os.path.isabs(path) and os.path.normpath(path).startswith(os.path.join(here, ""))
        image = os.path.relpath(path, here) if inside else path
        yield _item(image, resolve(here, path))


def from_list(path: str) -> Iterator[SourceItem]:
    """``@list.txt``: one path a line, relative to the folder that holds the list; ``image`` is as written.

    The list, and what it names, may be URLs.

    Raises:
        SourceError: the list cannot be read.
    """
    folder = _folder_of(path)
    try:
        with _open(path) as lines:
            for written in _paths(lines):
                yield _item(written, resolve(folder, written))
    except OSError as error:
        raise SourceError(f"--image-path @{masked(path)}: the list cannot be read ({error.strerror}).") from error


def resolve(folder: str, path: str) -> str:
    """A path as a file of a folder names it; either may be a URL."""
    if is_url(path):
        return as_local(path)
    return join(folder, path) if is_remote(folder) else os.path.join(folder, path)


def _folder_of(path: str) -> str:
    return parent(path) if is_remote(path) else os.path.dirname(os.path.abspath(path))


def _open(path: str) -> IO[bytes]:
    return open_stream(path) if is_remote(path) else open(path, "rb")


def _paths(lines: Iterator[bytes] | Replay | IO[bytes]) -> Iterator[str]:
    for i, line in enumerate(lines):
        line = line.removeprefix(_BOM) if i == 0 else line
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield os.fsdecode(line)


def _item(image: str, path: str) -> SourceItem:
    image = masked(image).replace(os.sep, "/")
    return SourceItem(image, path, folder=parent_name(image))


def is_manifest(path: str) -> bool:
    """Whether a file is read as a manifest, by its extension."""
    return without_query(path).lower().endswith((".csv", ".jsonl"))


def from_manifest(path: str) -> Iterator[SourceItem]:
    """The rows of a manifest: ``image``, and where given ``label``, ``target``, ``mask``, ``box``, ``avoid``.

    Paths are relative to the folder that holds the manifest; ``image`` is as written.

    Raises:
        SourceError: it cannot be read, has no ``image`` column, or a row is not what it must be; the row is named.
    """
    folder, shown = _folder_of(path), masked(path)
    rows = _csv_rows if without_query(path).lower().endswith(".csv") else _json_rows
    try:
        with io.TextIOWrapper(_open(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            for line, row in rows(shown, text):
                where = f"--image-path {shown}, line {line}"
                image = _text(row, "image")
                if image is None:
                    raise SourceError(f"{where}: `image` is empty. Every row needs the path of its image.")
                mask = _text(row, "mask")
                yield replace(
                    _item(image, resolve(folder, image)),
                    label=_text(row, "label"),
                    target=_text(row, "target"),
                    mask=None if mask is None else resolve(folder, mask),
                    box=_box(row.get("box"), where),
                    avoid=_avoid(row, folder, where),
                )
    except OSError as error:
        raise SourceError(f"--image-path {shown}: the manifest cannot be read ({error.strerror}).") from error


def _csv_rows(path: str, text: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(text)
    try:
        header = [name.strip() for name in next(reader, [])]
        if "image" not in header:
            raise SourceError(
                f"--image-path {path}: no column is named `image`; there is {', '.join(header) or 'nothing'}. "
                "The first line names the columns, separated by commas."
            )
        for values in reader:
            if values:  # not an empty line
                yield reader.line_num, dict(zip(header, values, strict=False))
    except csv.Error as error:
        raise SourceError(f"--image-path {path}, line {reader.line_num}: not CSV ({error}).") from error


def _json_rows(path: str, text: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SourceError(f"--image-path {path}, line {number}: not JSON ({error}).") from error
        if not isinstance(row, dict) or "image" not in row:
            raise SourceError(f'--image-path {path}, line {number}: an object with "image" is needed in every line.')
        yield number, row


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    text = str(value)
    # A path may end in a space; of the others none does.
    return (text if key in ("image", "mask") else text.strip()) if text.strip() else None


def _avoid(row: Mapping[str, Any], folder: str, where: str) -> Box | str | None:
    """A box where it begins like one, else the path of a mask."""
    text = _text(row, "avoid")
    if text is None or not re.match(r"[\s\[(]*[-+]?[\d.]+\s*[,;]", text):
        return None if text is None else resolve(folder, text)
    return _box(row["avoid"], where)


def _box(value: Any, where: str) -> Box | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        parts = value.strip(" []()").replace(";", ",").split(",") if isinstance(value, str) else list(value)
        x0, y0, x1, y1 = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise SourceError(f"{where}: box {value!r} must be four numbers x0,y0,x1,y1 in pixels.") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x0 >= x1 or y0 >= y1:
        raise SourceError(f"{where}: box {value!r} is empty; x0 < x1 and y0 < y1 are needed.")
    return x0, y0, x1, y1
