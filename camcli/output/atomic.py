"""Files that appear complete or not at all.

A file is written under a temporary name in the folder where it belongs, its size is checked, and it is renamed. A
process that is killed on the way leaves at most a temporary file, which has a name that nothing else has and is removed
when the run folder is opened the next time.
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from camcli.errors import OutputError
from camcli.output.jsontext import replace_surrogates
from camcli.storage import StorageError, is_remote, mask_text, masked, write_object

PORTABLE_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""For every ``os.open``: not inherited by child processes, and no translation of line ends."""

_TEMPORARY = re.compile(r"\.cam-[0-9a-f]{16}\.tmp")

_IN_THE_WAY = "Something that is no folder stands in its way; remove it, or {}."
_ADVICE = {
    errno.ENOSPC: "Free some space and {}.",
    errno.EDQUOT: "Free some of your quota and {}.",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Check its permissions, or {}."),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _IN_THE_WAY),
    errno.EISDIR: "A folder stands in its place; remove it, or {}.",
    errno.ENAMETOOLONG: "Its name is too long: {}.",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BLOCK = 1 << 16
_OF_A_STORE = "What was finished is kept: repeat the same command, which goes on where it stopped."
_CONTINUE = "repeat the same command: it goes on where it stopped"


def write_atomically(path: str | Path, chunks: Iterable[bytes], *, durable: bool = False) -> int:
    """Write a file so that it is there completely or, whatever happens, as it was before.

    Args:
        path: the file; its folder exists.
        chunks: the content, in pieces; an error raised by the iterable is passed on, and the file stays as it was.
        durable: also wait until the disk has the content and the name.

    Returns:
        The file's size in bytes.

    Raises:
        OutputError: the system refused; the message names the path.
    """
    path = os.fspath(path)
    if is_remote(path):
        with naming_os_errors(path):
            return write_object(path, chunks)
    temporary = os.path.join(os.path.dirname(path), f".cam-{secrets.token_hex(8)}.tmp")
    with naming_os_errors(path):
        # 0o666: the umask of the user decides, as for any other file.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PORTABLE_FLAGS, 0o666)
        try:
            try:
                written = sum(write_fully(descriptor, block) for block in _blocks(chunks))
                if durable:
                    os.fsync(descriptor)
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size != written:
                raise OSError(errno.EIO, f"{size} of {written} bytes arrived")
            os.replace(temporary, path)
        except BaseException:
            # What cannot be removed now (the disk may be gone) is swept when the folder is opened again.
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            sync_folder(os.path.dirname(path))
    return written


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Small chunks joined: a system call for each line of an index takes longer than all else."""
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= _BLOCK:
            yield b"".join(waiting)
            waiting, length = [], 0
    yield b"".join(waiting)


def write_fully(descriptor: int, data: bytes) -> int:
    """Write all of the data (one ``os.write`` may take less); returns its length in bytes. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(data)


def sync_folder(folder: str | Path) -> None:
    """Wait until the disk has the names in a folder. Raises OSError."""
    if os.name == "nt":  # Windows has no descriptors of folders, and keeps names on its own
        return
    descriptor = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: str | Path, below: Iterable[str]) -> int:
    """Remove what killed processes left: in a folder, and in the named folders below it with all of theirs.

    Folders are streamed, not listed: a run folder may hold millions of files.

    Returns:
        How many files were removed.

    Raises:
        OutputError: a temporary file or folder could not be read or removed.
    """
    if is_remote(os.fspath(folder)):  # an upload that did not end leaves no object
        return 0
    with naming_os_errors(folder):
        removed = _sweep(folder)
        waiting = [os.path.join(folder, name) for name in below]
        while waiting:
            removed += _sweep(waiting.pop(), waiting)
    return removed


def _sweep(folder: str | Path, subfolders: list[str] | None = None) -> int:
    removed = 0
    # A folder that is not there (any more) holds nothing to sweep.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                removed += 1
            elif subfolders is not None and entry.is_dir(follow_symlinks=False):
                subfolders.append(entry.path)
    return removed


def is_temporary(name: str) -> bool:
    """Whether a file name is one that :func:`write_atomically` writes under."""
    return _TEMPORARY.fullmatch(name) is not None


@contextlib.contextmanager
def naming_os_errors(path: str | Path, action: str = "write", option: str | None = None) -> Iterator[None]:
    """Turn an OSError inside into an :class:`OutputError` that names the path and the remedy.

    Args:
        path: of a file of the run folder, or of the file that a flag names.
        action: what could not be done.
        option: the flag.
    """
    try:
        yield
    except OSError as error:
        reason = mask_text(error.strerror or str(error))
        advice = _advise(error.errno or 0, option)
        if isinstance(error, StorageError):
            advice = "Repeat the same command." if action == "read" else _OF_A_STORE
        shown = masked(os.fspath(path))
        name = f"{option} {shown}" if option else shown
        raise OutputError(replace_surrogates(f"cannot {action} {name}: {reason}. {advice}")) from error


def _advise(number: int, option: str | None) -> str:
    """What to do about an error of the system: with the run folder, or with the file that a flag names."""
    if number not in _ADVICE:
        return "Check the disk, then repeat the same command."
    if number in _FULL:
        return _ADVICE[number].format("repeat the same command" if option else _CONTINUE)
    return _ADVICE[number].format(f"give {option} another file" if option else "choose another --output-dir")
