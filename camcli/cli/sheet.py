"""``--sheet`` of ``cam run`` and ``cam report``: comparison figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from camcli.errors import printable

if TYPE_CHECKING:
    from camcli.report.sheet import Sheet

_MOST_NAMED = 5


def check_sheet(path: str) -> None:
    """Refuse a sheet that could not be written in the end.

    Raises:
        ConfigError: no known format, PDF without matplotlib, or a folder in its place.
        OutputError: its folder cannot be written.
    """
    from camcli.output import check_named_file
    from camcli.render.pages import page_format

    page_format(path)
    check_named_file("--sheet", path)


def name_missing(sheet: Sheet) -> None:
    """Print which originals were not there, in a line on stderr."""
    if sheet.missing:
        some, more = sheet.missing[:_MOST_NAMED], len(sheet.missing) - _MOST_NAMED
        names = ", ".join(some) + (f" and {more} more" if more > 0 else "")
        line = f"originals that are not there as they were, grey in the sheet: {names}"
        print(printable(f"note: {line}"), file=sys.stderr)


def describe_sheet(sheet: Sheet) -> str:
    """Where a sheet is and what it shows, in a line."""
    files = f"{sheet.files[0]}" if len(sheet.files) == 1 else f"{sheet.files[0]} to {Path(sheet.files[-1]).name}"
    if sheet.images < sheet.of:
        return printable(f"sheet of {sheet.images} of {sheet.of} images in {files}; --limit of `cam report` shows more")
    return printable(f"sheet of {sheet.images} image{'s' * (sheet.images != 1)} in {files}")
