"""Files that a flag names (``--csv FILE``, ``--junit FILE``, …), wherever the user lets them lead.

A regular file appears complete or not at all. A symbolic link is followed: its target is replaced, and the link stays.
What is no regular file (a pipe, a device, ``/dev/stdout``) is written plainly, never replaced.
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from camcli.errors import ConfigError, OutputError
from camcli.output.atomic import PORTABLE_FLAGS, naming_os_errors, write_atomically, write_fully
from camcli.storage import is_remote

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_MOST_LINKS = 40


def check_named_file(option: str, path: str | Path) -> None:
    """Refuse what could not be written in the end. Nothing is created.

    Args:
        option: the flag that names the file, for messages.
        path: the file.

    Raises:
        ConfigError: a folder, a link that leads nowhere, or something that is no folder above it.
        OutputError: its folder cannot be written.
    """
    if is_remote(os.fspath(path)):
        raise ConfigError(f"{option} {os.fspath(path)}: this file is written on a disk. Name one there, and copy it.")
    if _descriptor_of(real := _follow(option, os.fspath(path))) is not None:
        return
    if os.path.isdir(real):
        raise ConfigError(f"{option} {os.fspath(path)}: a folder stands in its place. Name a file.")
    if os.path.exists(real) and not os.path.isfile(real):
        return
    folder = os.path.dirname(real) or "."
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder) or "."
    if not os.path.isdir(folder):
        raise ConfigError(f"{option} {os.fspath(path)}: {folder} is no folder. Name a file in a folder.")
    with naming_os_errors(path, option=option):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, f"{folder} cannot be written")


def write_named_file(option: str, path: str | Path, chunks: Iterable[bytes], *, durable: bool = False) -> int:
    """Write the file that a flag names; folders above it are created.

    Args:
        option: the flag, for messages.
        path: the file.
        chunks: the content, in pieces; an error raised by the iterable is passed on, and a regular file stays as it
            was.
        durable: also wait until the disk has a regular file and its name.

    Returns:
        The bytes written; a pipe whose reader has exited takes no more.

    Raises:
        ConfigError: a link that leads nowhere.
        OutputError: the system refused; the message names the flag and the file.
    """
    real = _follow(option, os.fspath(path))
    with naming_os_errors(path, option=option):
        if (descriptor := _descriptor_of(real)) is not None:
            return _write_plainly(descriptor, chunks)
        if _is_special(real):
            descriptor = os.open(real, os.O_WRONLY | PORTABLE_FLAGS)
            try:
                return _write_plainly(descriptor, chunks)
            finally:
                os.close(descriptor)
        if folder := os.path.dirname(real):
            os.makedirs(folder, exist_ok=True)
    try:
        return write_atomically(real, chunks, durable=durable)
    except OutputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        cause = error.__cause__
    with naming_os_errors(path, option=option):
        raise cause


def _follow(option: str, path: str) -> str:
    """Where the last component of a path leads, link by link; a name of an open descriptor is left as it is."""
    real = path
    for _ in range(_MOST_LINKS):
        if _descriptor_of(real) is not None or not os.path.islink(real):
            break
        real = os.path.join(os.path.dirname(real), os.readlink(real))
    else:
        raise ConfigError(f"{option} {path}: a link that leads back to itself. Remove it, or name another file.")
    if real != path and _descriptor_of(real) is None and not os.path.lexists(real):
        raise ConfigError(f"{option} {path}: a link to {real}, which is not there. Remove it, or name another file.")
    return real


def _descriptor_of(path: str) -> int | None:
    """The number of the open descriptor that a path stands for.

    Opened by name, it would be a second description of the same file, with a position of its own.
    """
    if path in _STREAMS:
        return _STREAMS[path]
    match = _DESCRIPTOR.fullmatch(path)
    return int(match[1]) if match else None


def _is_special(path: str) -> bool:
    """Whether something is there that is neither a regular file nor a folder."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_plainly(descriptor: int, chunks: Iterable[bytes]) -> int:
    for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
        with suppress(OSError, ValueError):
            stream.flush()
    written = 0
    with suppress(BrokenPipeError):  # its reader (head, less) does not need the rest
        for chunk in chunks:
            written += write_fully(descriptor, chunk)
    return written
