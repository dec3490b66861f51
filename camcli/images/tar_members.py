"""The members of a tar, one after the other, and what is wrong where they end too early.

A file is read in place: only headers here, and contents when they are needed. What is in a store is read once from
front to back, and a content is there while its header is the latest one.
"""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import Self

from camcli.errors import SourceError
from camcli.images.entry import Version
from camcli.storage import StorageError, is_remote, masked, open_stream, read_bytes

_DAMAGED = (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError, EOFError)
"""What a damaged header raises: a number, a text or a size that cannot be."""


class Damage(tarfile.TarError):
    """A tar ends otherwise than it should."""


class Header(tarfile.TarInfo):
    """A header; tarfile takes whatever is none for the end of the archive.

    Attributes:
        checksum: CRC-32 of its block, which is that before the content.
    """

    checksum: int = 0

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:  # type: ignore[override]
        """Parse a header; raises Damage, or what tarfile does at the mark of the end."""
        header = cls._parsed(buf, encoding, errors)
        header.checksum = zlib.crc32(buf)
        return header

    @classmethod
    def _parsed(cls, buf: bytes, encoding: str, errors: str) -> Self:
        if not buf:
            raise Damage("it has no mark of its end and may have been cut short")
        if len(buf) < tarfile.BLOCKSIZE:
            raise Damage("it is cut short within a header")
        if (plain := cls._plain(buf, encoding, errors)) is not None:
            return plain
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.TarError as error:
            if not buf.strip(b"\0"):
                raise
            raise Damage(f"what should be a header is none: {error}") from error

    @classmethod
    def _plain(cls, buf: bytes, encoding: str, errors: str) -> Self | None:
        """The header of a regular file as nearly all are, without what nobody reads: a third of the time."""
        if buf[156:157] != tarfile.REGTYPE or buf[257:262] != b"ustar":
            return None
        try:
            size, checksum = int(buf[124:136].rstrip(b" \0"), 8), int(buf[148:156].rstrip(b" \0"), 8)
        except ValueError:  # a large file, or damage
            return None
        if size < 0 or checksum != sum(buf) - sum(buf[148:156]) + 8 * ord(" "):
            return None
        name, prefix = (buf[start:end].partition(b"\0")[0].decode(encoding, errors) for start, end in _NAMES)
        header = cls(f"{prefix}/{name}" if prefix else name)
        header.size = size
        return header


_NAMES = ((0, 100), (345, 500))
"""Where a header has the name of the member, and what comes before it."""


def check_tar(path: str) -> None:
    """Read the first header, so that what is wrong with an archive is reported before any image is explained.

    Raises:
        SourceError: it cannot be read, or is no uncompressed tar.
    """
    try:
        if is_remote(path):
            head = io.BytesIO(read_bytes(path, 0, tarfile.BLOCKSIZE))
            Header.frombuf(head.getvalue(), tarfile.ENCODING, "surrogateescape")
        else:
            with Members(path):
                return
    except OSError as error:
        raise SourceError(f"--image-path {masked(path)}: cannot be read ({error.strerror}).") from error
    except _DAMAGED as error:
        if is_remote(path) and isinstance(error, tarfile.TarError) and not isinstance(error, Damage):
            return  # an archive of nothing
        raise SourceError(
            f"--image-path {masked(path)}: not an uncompressed tar ({error}). Decompress it first: members are read in "
            "place."
        ) from error


class Members:
    """An open archive; a context manager that closes it.

    Raises:
        SourceError, OSError, tarfile.TarError: as :func:`check_tar` reports.
    """

    def __init__(self, path: str) -> None:
        self.is_stream = is_remote(path)
        # Without a buffer: it would read some of the contents with every header, and again when they are needed.
        self._file: io.BufferedReader | io.FileIO = open_stream(path) if self.is_stream else open_unbuffered(path)
        try:
            mode = "r|" if self.is_stream else "r:"
            self._tar = self._open(mode)
        except BaseException:
            self._file.close()
            raise
        self._last = "nothing"
        status = None if self.is_stream else os.fstat(self._file.fileno())
        self.version: Version | None = None if status is None else (status.st_size, status.st_mtime_ns)

    def _open(self, mode: str) -> tarfile.TarFile:
        return tarfile.open(fileobj=self._file, mode=mode, tarinfo=Header)  # type: ignore[call-overload,no-any-return]

    def __iter__(self) -> Iterator[Header]:
        """Each header; raises Damage where the archive ends otherwise than it should, StorageError of its store."""
        end = 0
        while True:
            try:
                member: Header | None = self._tar.next()  # type: ignore[assignment]  # as the tar was opened
                if member is not None and (member.size < 0 or self._tar.offset <= end):
                    raise Damage(f"the header at byte {end} has an impossible size")
            except StorageError:  # says nothing of the archive
                raise
            except (*_DAMAGED, OSError) as error:
                why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise Damage(f"the tar is damaged after {self._last} ({why}); what follows was not found") from error
            if member is None:
                return
            self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header it has seen
            self._last, end = member.name, self._tar.offset
            yield member

    def content(self, member: tarfile.TarInfo) -> bytes | None:
        """The content of a regular file that is the latest member; None where it is cut short.

        Raises:
            StorageError: its store failed, and nothing that follows can be read either.
        """
        try:
            if self.is_stream:
                file = self._tar.extractfile(member)
                content = None if file is None else file.read()
            else:
                self._file.seek(member.offset_data)
                content = self._file.read(member.size)
        except StorageError:
            raise
        except (*_DAMAGED, OSError):  # the next header, which is not there, says the same
            return None
        return content if content is not None and len(content) == member.size else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
        self._file.close()


def open_unbuffered(path: str) -> io.FileIO:
    """A file whose bytes are read where they are asked for, and no others."""
    return open(path, "rb", buffering=0)
