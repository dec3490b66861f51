"""The JSON Schemas of what cam writes, as a program that reads it may check it. All are JSON Schema 2020-12."""

import json
from importlib import resources
from typing import Any, Literal

Part = Literal["index", "journal_header", "item"]


def index_schema(part: Part = "index") -> dict[str, Any]:
    """The schema ``camcli.index/1``, of a run folder.

    Args:
        part: all of ``index.json``, or what a line of ``index.jsonl`` follows: the first one ``journal_header``, the
            others ``item``.
    """
    return _schema("index-1", None if part == "index" else part)


def check_schema(command: Literal["check", "diff"] = "check") -> dict[str, Any]:
    """The schema ``camcli.check/1`` or ``camcli.diff/1``: what ``cam check --json`` or ``cam diff --json`` prints."""
    return _schema("check-1", None if command == "check" else command)


def evaluation_schema() -> dict[str, Any]:
    """The schema ``camcli.evaluation/1``: what ``cam eval --json`` prints, and ``eval.json``."""
    return _schema("evaluation-1")


def _schema(name: str, part: str | None = None) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    if part is None:
        return schema
    return {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
