"""The top-level fields of the index: the journal's first line, and all of ``index.json`` but its items."""

import json
from pathlib import Path
from typing import Any, cast

from camcli.errors import ResumeError
from camcli.output.atomic import naming_os_errors
from camcli.schemas.index import Header
from camcli.storage import run_path

JOURNAL_NAME = "index.jsonl"
INDEX_NAME = "index.json"
SCHEMA = "camcli.index/1"

HEADER_KEYS = (
    "schema", "status", "camcli", "started", "finished", "command", "config", "fingerprint", "render_fingerprint",
    "model", "layers", "methods", "environment", "counts", "timing",
)  # fmt: skip
"""The top-level keys of the index before ``items``, in their order."""

ITEMS_BEGIN = b'"items": ['
"""The line of ``index.json`` after which every line is an item."""

_OURS = b'{"schema": "camcli.index/'
_LONGEST_LINE = 1 << 26


def header_fields(header: Header, **changed: Any) -> Header:
    """The top-level fields of the index without ``items``, complete and in their order; unknown ones come last."""
    fields: dict[str, Any] = {**header, "schema": SCHEMA, **changed}
    fields.pop("items", None)
    return cast(Header, {key: fields.get(key) for key in HEADER_KEYS} | fields)


def journal_header(header: Header) -> Header:
    """The fields as they stand in a journal: of a run that has not ended."""
    return header_fields(header, status="running", finished=None, counts=None, timing=None)


def read_header(run_dir: str | Path) -> Header | None:
    """The recorded header of a run folder, or None where no run was started in it.

    It is the journal's; where that is lost, the one of ``index.json``.

    Raises:
        ResumeError: the folder has an ``index.jsonl`` or ``index.json`` that this version of cam did not write.
        OutputError: the folder cannot be read.
    """
    return read_journal_header(run_dir) or read_index_header(run_dir)


def read_journal_header(run_dir: str | Path, name: str = JOURNAL_NAME) -> Header | None:
    """The header line of a run folder's journal, or None where there is none that is whole; raises as read_header."""
    path = run_path(run_dir) / name
    with naming_os_errors(path, "read"):
        try:
            with path.open("rb") as file:
                line = file.readline(_LONGEST_LINE)
        except FileNotFoundError:
            return None
    if not line.strip(b"\0"):  # created, but not written to the disk before a power failure
        return None
    if not line.endswith(b"\n") and (line.startswith(_OURS) or _OURS.startswith(line)):
        return None  # torn
    return _check(line, path)


def read_index_header(run_dir: str | Path) -> Header | None:
    """The header of a run folder's ``index.json``, or None where there is none; raises as read_header."""
    path, lines = run_path(run_dir) / INDEX_NAME, []
    with naming_os_errors(path, "read"):
        try:
            with path.open("rb") as file:
                while (line := file.readline(_LONGEST_LINE)) and not line.startswith(ITEMS_BEGIN):
                    lines.append(line)
                    if len(lines) > _MOST_LINES:
                        break
        except FileNotFoundError:
            return None
    return _check(b"".join(lines).rstrip().removesuffix(b",") + b"}", path)


_MOST_LINES = 1000  # far more top-level fields than there will ever be; a foreign index.json may have millions


def _check(text: bytes, path: Path) -> Header:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    written_by_cam = isinstance(header, dict) and str(header.get("schema")).startswith("camcli.index/")
    if not isinstance(header, dict) or not written_by_cam:
        raise ResumeError(f"{path} was not written by cam. Choose another --output-dir, or move that file away.")
    if header["schema"] != SCHEMA:
        raise ResumeError(
            f"{path} follows {header['schema']}; this version of cam supports {SCHEMA}. Choose another --output-dir."
        )
    return cast(Header, header)
