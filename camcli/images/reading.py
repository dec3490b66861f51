"""The bytes of one input, or the reason why they cannot be read; a pipe is refused instead of waited for.

An input may be in a store; then its bytes come whole, or not at all (:func:`camcli.storage.read_bytes`).
"""

import errno
import os
import stat
import zlib
from tarfile import BLOCKSIZE

from camcli.errors import ErrorKind, ImageError
from camcli.images.entry import Entry, TableRow, TarMember
from camcli.images.table_rows import read_row, replaced
from camcli.storage import StorageError, is_remote, read_bytes

MAX_BYTES = 1 << 31
"""A file above this is not read: no image within ``--max-pixels`` is as large, and memory holds several at once."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_AGAIN = "explain it again with --retry-failed"
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read(entry: Entry) -> bytes:
    """The content of an input's file, tar member or row of a table.

    Raises:
        ImageError: ``missing``, ``unreadable``, ``empty``, ``changed``, ``truncated`` (a tar that ends within the
            member), ``too-large`` or ``out-of-memory``.
    """
    if entry.problem is not None:
        raise ImageError(entry.problem.kind, entry.problem.message)
    if isinstance(entry.member, TarMember) and entry.member.content is not None:
        return _whole(entry.member.content, entry.member)
    if not isinstance(entry.member, TableRow):
        return _read_file(entry.path, entry.member, entry.size)
    content = read_row(entry.path, entry.member)
    if isinstance(content, str):
        return _read_file(content, None, None)
    if len(content) > MAX_BYTES:
        raise _too_large(len(content))
    return _whole(content, None)


def _read_file(path: str, member: TarMember | None, size: int | None) -> bytes:
    if is_remote(path):
        return _remote_content(path, member, size)
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would block for ever.
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise _refusal(error) from error
    try:
        return _content(handle, member)
    except OSError as error:
        raise _refusal(error) from error
    except MemoryError as error:
        raise ImageError("out-of-memory", "the file does not fit into memory") from error
    finally:
        os.close(handle)


def read_path(path: str) -> bytes:
    """The content of a file that may be a URL, such as a mask. Raises OSError."""
    if is_remote(path):
        return read_bytes(path)
    with open(path, "rb") as file:
        return file.read()


def was_replaced(entry: Entry, size: int | None) -> bool:
    """Whether an input is no longer the file that was read before, as far as its size in bytes shows.

    An input that is gone was not replaced: what was recorded of it stands. Of one in a store, the size is that of the
    listing: no request is made, so that one that a list names was never replaced.
    """
    if size is None or entry.problem is not None:
        return False
    if isinstance(entry.member, TableRow):  # its size is known only when it is read
        return False
    if entry.member is not None:
        return entry.member.size != size
    if is_remote(entry.path):
        return entry.size is not None and entry.size != size
    try:
        return os.stat(entry.path).st_size != size
    except (OSError, ValueError):
        return False


def _content(handle: int, member: TarMember | None) -> bytes:
    before = os.fstat(handle)
    if not stat.S_ISREG(before.st_mode):
        kind = next((name for test, name in _KINDS if test(before.st_mode)), "no regular file")
        raise ImageError("unreadable", f"this is {kind}, not a file")
    if member is not None and member.version not in (None, (before.st_size, before.st_mtime_ns)):
        raise replaced("tar")
    offset, size = (member.offset, member.size) if member is not None else (0, before.st_size)
    if size > MAX_BYTES:
        raise _too_large(size)
    data = _exactly(handle, offset, size)
    after = os.fstat(handle)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError("changed", f"the file changed while it was read; {_AGAIN}")
    return _whole(data, member)


def _remote_content(path: str, member: TarMember | None, size: int | None) -> bytes:
    size = size if member is None else member.size
    if size is not None and size > MAX_BYTES:
        raise _too_large(size)
    try:
        data = read_bytes(path, size=size) if member is None else _remote_member(path, member)
    except StorageError as error:
        if error.cause == "missing":
            raise ImageError("missing", f"{error.strerror}") from error
        raise ImageError("unreadable", f"it cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise ImageError("out-of-memory", "the file does not fit into memory") from error
    return _whole(data, member)


def _remote_member(path: str, member: TarMember) -> bytes:
    data = read_bytes(path, member.offset - BLOCKSIZE, member.offset + member.size)
    if zlib.crc32(data[:BLOCKSIZE]) != member.header:
        raise replaced("tar")
    return data[BLOCKSIZE:]


def _too_large(size: int) -> ImageError:
    return ImageError("too-large", f"the file has {size:,} bytes, more than the {MAX_BYTES:,} that are read")


def _whole(data: bytes, member: TarMember | None) -> bytes:
    if member is not None and len(data) < member.size:
        raise ImageError("truncated", f"the tar ends within this member: {len(data)} of {member.size} bytes are there")
    if not data:
        raise ImageError("empty", "the file is empty (0 bytes)")
    return data


def _exactly(handle: int, offset: int, size: int) -> bytes:
    os.lseek(handle, offset, os.SEEK_SET)
    blocks, remaining = [], size
    while remaining > 0:
        block = os.read(handle, remaining)
        if not block:
            break
        blocks.append(block)
        remaining -= len(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _refusal(error: OSError | ValueError) -> ImageError:
    if isinstance(error, ValueError):  # a zero byte in the name
        return ImageError("missing", f"no file can have this name ({error})")
    kind: ErrorKind = "missing" if error.errno in _MISSING else "unreadable"
    words = error.strerror or str(error)
    return ImageError(kind, f"the file is not there ({words})" if kind == "missing" else f"it cannot be read ({words})")
