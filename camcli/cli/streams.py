"""Standard streams (any encoding, closed streams, readers that have exited) and messages of unexpected errors."""

import os
import re
import shutil
import sys
import textwrap
import traceback
from pathlib import Path
from typing import TextIO

from camcli.errors import describe_error, is_out_of_memory

_SENTENCE = re.compile(r"(?<=[.?!]) (?=[A-Z`-])")
_INDENT = 5
_PACKAGE = Path(__file__).resolve().parent.parent


def prepare_streams() -> None:
    """Make stdout and stderr replace characters that their encoding does not have; in the C locale that is even ``×``.

    A closed stream is replaced by the null device: otherwise the next file that is opened would get its number, and
    messages for people would be written into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number and not _is_open(number):
                os.dup2(null, number)
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a program may have set a stream without it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def discard_output(stream: TextIO) -> None:
    """Send further output of a stream to the null device, so that neither a line nor the exit of the process fails."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def describe_unexpected(error: Exception) -> str:
    """An error of this package or of a library, in one line with the place in the code."""
    if isinstance(error, OSError):
        prefix = f"{error.filename}: " if error.filename else ""
        return f"{prefix}{error.strerror or error}"
    if is_out_of_memory(error):
        return f"memory ran out ({describe_error(error)}). A smaller --batch-size or another --device may help."
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).resolve().parents]
    place = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:]))
    what = describe_error(error)
    return f"an unexpected error, which is a fault of cam: {what} (at {place}). Please report it with the command."


def error_block(message: str, stream: TextIO) -> str:
    """A message as it is printed: on a terminal a block, each sentence (cause, place, way out) on lines of its own.

    Elsewhere the message stays as it is, so that programs find it in one line.
    """
    if not stream.isatty():
        return message
    width = max(40, shutil.get_terminal_size().columns - 1)
    sentences = [part for line in message.splitlines() for part in _SENTENCE.split(line)]
    first = True
    lines: list[str] = []
    for sentence in sentences:
        lines += textwrap.wrap(
            sentence, width, initial_indent="" if first else " " * _INDENT, subsequent_indent=" " * _INDENT,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        first = False
    return "\n".join(lines)
