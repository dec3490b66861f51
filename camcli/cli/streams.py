"""Speaking where it is not easy: terminals of any encoding, readers that are gone, errors that nobody foresaw."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TextIO

from camcli.errors import is_out_of_memory
from camcli.pipeline.isolation import describe_error

_OURS = Path(__file__).resolve().parent.parent


def speak_anywhere() -> None:
    """Let stdout and stderr replace what their encoding cannot hold; in the C locale that is even ``×``.

    A stream that is closed leads nowhere from here on: else the next file that is opened would take its number, and
    what is meant for people would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number and not _is_open(number):
                os.dup2(nowhere, number)
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # not there where a program has put its own stream
        if reconfigure is not None:
            reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def printable(text: str, *, lines: bool = False) -> str:
    """Text with ``?`` for what no terminal should be sent: control characters, bytes that are no character.

    Args:
        text: a file name, or a message that may hold one.
        lines: keep ends of lines.
    """
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or (lines and c == "\n") else "?" for c in shown)


def nobody_listens(stream: TextIO) -> None:
    """Send what still comes for a stream nowhere, so that neither the next line nor the end of the process fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def describe_unexpected(error: Exception) -> str:
    """A fault of ours or of a library, in one line that says where it was met."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror or error}"
    if is_out_of_memory(error):
        return f"memory ran out ({describe_error(error)}). A smaller --batch-size or another --device may help."
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _OURS in Path(frame.filename).resolve().parents]
    place = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:]))
    what = describe_error(error)
    return f"an unexpected error, which is a fault of cam: {what} (at {place}). Please report it with the command."
