"""The JSON Schema of the index, as a program that reads run folders may check it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Literal

Part = Literal["index", "journal_header", "item"]


def index_schema(part: Part = "index") -> dict[str, Any]:
    """The schema ``camcli.index/1`` (JSON Schema 2020-12).

    Args:
        part: all of ``index.json``, or what a line of ``index.jsonl`` follows: the first one ``journal_header``, the
            others ``item``.
    """
    text = resources.files(__name__).joinpath("index-1.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    if part == "index":
        return schema
    return {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
