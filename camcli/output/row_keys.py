"""The rows of the journal: an item of the index each, beginning with the names of its image."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from camcli.output.jsontext import name_bytes, name_fields, strict_json
from camcli.output.offsets import key_hash
from camcli.schemas.index import ImageNames, ImageRow

KeyedRow = tuple[int, bytes]
"""The key of an image, and its row: a line with its newline."""
_NAME_KEYS = ("image", "image_b64", "source", "source_b64")

# The names come first in a line, so that a journal can be opened without parsing all of it.
_STRING = rb'("(?:[^"\\\x00-\x1f]|\\.)*")'
_NAMES_FIRST = re.compile(
    rb'\{"image": %b(?:, "image_b64": %b)?, "source": %b(?:, "source_b64": %b)?[,}]' % ((_STRING,) * 4)
)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One finished image: its row, and where its line is in the journal."""

    offset: int
    item: ImageRow


def names_of(item: ImageNames) -> dict[str, str]:
    """The names of an item (``image``, ``source``, and the bytes of those that are not UTF-8), in their order."""
    fields: Mapping[str, Any] = item
    names: dict[str, str] = {}
    for key in ("image", "source"):
        encoded = f"{key}_b64"
        names |= {key: fields[key], encoded: fields[encoded]} if encoded in fields else name_fields(fields[key], key)
    return names


def row_line(item: ImageRow) -> bytes:
    """The line of an image's row without its newline, its names first.

    Raises:
        ValueError: a number of the item is not finite.
    """
    names = names_of(item)
    return strict_json(names | {key: value for key, value in item.items() if key not in names})


def is_named(item: ImageNames, names: Mapping[str, str]) -> bool:
    """Whether an item, as it was read, has exactly these names."""
    return all(item.get(key) == names.get(key) for key in _NAME_KEYS)


def key_of(names: Mapping[str, str]) -> int:
    """A 64-bit hash of the names that :func:`names_of` gives."""
    return key_hash(*(_true_bytes(names[key], names.get(f"{key}_b64")) for key in ("image", "source")))


def key_of_line(line: bytes) -> int | None:
    """The key of the image whose row a line of the journal is, or None where it is no whole row."""
    if not line.endswith(b"}\n"):
        return None
    match = _NAMES_FIRST.match(line)
    try:
        if match is not None:
            image, image_bytes, source, source_bytes = match.groups()
            if image_bytes is source_bytes is None and b"\\" not in image and b"\\" not in source:
                image.decode(), source.decode()
                return key_hash(image[1:-1], source[1:-1])
            names = {key: json.loads(text) for key, text in zip(_NAME_KEYS, match.groups(), strict=True) if text}
        else:  # not in the form that we write, but perhaps a row
            names = json.loads(line)
        return key_of(names)
    except (ValueError, TypeError, KeyError, AttributeError):  # damaged
        return None


def parse_row(line: bytes) -> ImageRow | None:
    """A line of the journal as a row, or None where it is damaged."""
    try:
        item = json.loads(line.decode())  # faster than of bytes, whose encoding is detected first
    except ValueError:
        return None
    return cast(ImageRow, item) if isinstance(item, dict) else None


def _true_bytes(shown: str, encoded: str | None) -> bytes:
    return name_bytes(shown) if encoded is None else base64.b64decode(encoded)
