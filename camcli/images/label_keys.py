"""The label of an image in a WebDataset sample or in a row of a table."""

import json
from typing import Any

LABEL_KEYS = ("label", "labels", "class", "cls", "class_name", "class_id", "category", "target", "fine_label")
"""Keys of a JSON object, and columns of a table, that hold the label; the first one that is there counts."""


def label_of_text(content: bytes) -> str | None:
    """The label that a ``.cls`` file holds: an index or a name of a class."""
    try:
        return content.decode("utf-8-sig").strip() or None
    except UnicodeDecodeError:
        return None


def label_of_json(content: bytes) -> str | None:
    """The label in a ``.json`` file: under one of the keys of an object."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return next((label for key in LABEL_KEYS if (label := label_of_value(fields.get(key))) is not None), None)


def label_of_value(value: Any) -> str | None:
    """A label as a manifest would have it: text, or a whole number; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value)) if value >= 0 else None
    return None
