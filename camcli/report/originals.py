"""Where the images of a run are now, and how a page refers to files."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from camcli.checks.recorded import RecordedRun
from camcli.checks.run_paths import as_typed, locate
from camcli.errors import CamError
from camcli.images import Entry, Sources
from camcli.report.rows import RunRows

Originals = Mapping[tuple[str, str], Entry]
"""By the true names of image and source."""

SHOWN_BY_BROWSERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats that every browser shows upright, in the colours that a run sees."""


def find_originals(rows: RunRows) -> Originals:
    """The images of a run that are still there.

    A source that has moved is left out, and so is standard input: the names of its files are looked up as they are.
    """
    run = RecordedRun(rows.path, rows.header, [], 0)
    sources = [path for path in rows.header["config"].get("image_path", ()) if path != "-"]
    try:
        return _entries(run, sources)
    except (CamError, OSError):  # one of them has moved; the others may be there
        found: dict[tuple[str, str], Entry] = {}
        for path in sources:
            try:
                found |= _entries(run, [path])
            except (CamError, OSError):
                continue
        return found


def _entries(run: RecordedRun, sources: list[str]) -> dict[tuple[str, str], Entry]:
    if not sources:
        return {}
    entries = Sources([locate(run, path) for path in sources], exclude=run.path)
    return {(entry.image, entry.source): entry for entry in as_typed(run, entries)}


def href(path: str | Path, page: Path) -> str:
    """A file as a relative URL of a page; on another drive, as an absolute one."""
    try:
        relative = os.path.relpath(os.path.abspath(path), os.path.abspath(page.parent))
    except ValueError:  # Windows: there is no relative path to another drive
        return Path(os.path.abspath(path)).as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")), safe="/~")
