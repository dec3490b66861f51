"""The one place where the run folder's JSON is made: strict, UTF-8, one line, the same bytes for the same value.

Two things that Python would let through are dealt with here. A number that is not finite is refused (``ValueError``
naming its place), because a null would hide the fault behind it. A character that UTF-8 cannot hold (what
Python makes of file names that are not UTF-8) becomes U+FFFD; a *name* keeps its true bytes beside it in base64, see
:func:`name_fields`.
"""

import base64
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

_SURROGATES = re.compile("[\ud800-\udfff]")


def strict_json(value: object) -> bytes:
    """JSON of a value in one line of UTF-8, without a newline.

    Takes what ``json`` takes, and paths and numpy scalars.

    Raises:
        ValueError: a number is NaN or infinite; the message says where it stands.
        TypeError: a value that has no place in JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "), default=_plain)
    except ValueError:
        where = _not_finite(value, "")
        if where is None:
            raise
        raise ValueError(f"{where}, which JSON cannot hold") from None
    return replace_surrogates(text).encode("utf-8")


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for every character that UTF-8 cannot hold."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def name_bytes(name: str) -> bytes:
    """The bytes of a file name as the system holds it (``surrogateescape`` undone)."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that encodes no byte: a list can hold it, a disk cannot
        return name.encode("utf-8", "surrogatepass")


def as_utf8(name: str) -> str:
    """A file name as it is where file names are UTF-8, whatever the locale of this process made of its bytes."""
    if _SURROGATES.search(name) is None:
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name


def name_fields(name: str, key: str = "image") -> dict[str, str]:
    """A name as fields of an index item: ``{key: name}``, and ``{key}_b64`` (its bytes) where it is not UTF-8."""
    name = as_utf8(name)
    shown = replace_surrogates(name)
    if shown == name:
        return {key: name}
    return {key: shown, f"{key}_b64": base64.b64encode(name_bytes(name)).decode("ascii")}


def true_name(item: Mapping[str, Any], key: str = "image") -> str:
    """The inverse of :func:`name_fields`: the name as Python's file functions take it."""
    encoded = item.get(f"{key}_b64")
    return os.fsdecode(name_bytes(item[key]) if encoded is None else base64.b64decode(encoded))


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _not_finite(value: object, where: str) -> str | None:
    """``maps[0].raw.min is nan`` for the first number that is not finite, or None."""
    if isinstance(value, float | np.floating):
        return None if math.isfinite(value) else f"{where or 'the value'} is {value}"
    parts: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        parts = [(f"{where}.{key}" if where else str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{where}[{index}]", part) for index, part in enumerate(value)]
    return next((place for name, part in parts if (place := _not_finite(part, name))), None)
