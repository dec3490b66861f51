"""Reading from stores: whole objects, parts of them, streams, and the names in a folder."""

from __future__ import annotations

import io
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from camcli.storage.errors import StorageError
from camcli.storage.filesystem import file_system
from camcli.storage.retry import with_retries
from camcli.storage.urls import base_name, is_web, scheme_of, without_query

BLOCK = 1 << 22
"""Bytes of one request of a stream."""
_BLOCKS_AHEAD = 4
_PART = 1 << 20
_MARKS = frozenset({
    "blob_id", "content-md5", "content_md5", "crc32c", "created", "digest", "etag", "generation", "last-modified",
    "last_modified", "lastmodified", "md5", "md5hash", "mtime", "updated", "version_id", "versionid",
})  # fmt: skip
"""What file systems of fsspec name a hash, a version or a time of a file, in lower case."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a folder holds under one name.

    Attributes:
        name: the last component; a store may have a file and a folder of one name. Empty for a folder that cannot be
            listed, since it has no name: that of objects with ``//`` in theirs.
        is_folder: which of both it is.
        size: bytes of a file, where the listing says.
    """

    name: str
    is_folder: bool
    size: int | None = None


def read_bytes(url: str, start: int = 0, end: int | None = None, *, size: int | None = None) -> bytes:
    """The content of a file, or the bytes of it from ``start`` up to ``end``.

    A transfer that breaks off is noticed, by the length that the server announced or by ``size``, and repeated.

    Args:
        url: of the file.
        start: the first byte.
        end: the byte after the last; None reads all. A file that ends before gives what there is.
        size: bytes of the whole file, as listed; another length counts only where the file was replaced since. On a
            web server it means nothing: what is sent says its own length.

    Raises:
        StorageError: as :func:`with_retries`.
    """
    fs = file_system(url)

    def read() -> bytes:
        if end is not None and end <= start:
            return b""
        content: bytes = fs.cat_file(url) if end is None and not start else fs.cat_file(url, start=start, end=end)
        if is_web(url) and end is not None and len(content) > end - start:  # the server sends the whole file
            content = content[start:end]
        expected = None if size is None or is_web(url) else (size if end is None else min(end, size)) - start
        if expected is not None and len(content) != expected and fs.info(url).get("size") == size:
            raise OSError(None, f"the transfer broke off after {len(content)} of {expected} bytes")
        return content

    return with_retries(url, read)


def find(url: str) -> Listed | None:
    """What a URL names; None where nothing is there.

    Of HTTP, a URL that ends in ``/`` is a folder, and any other one a file.

    Raises:
        StorageError: it cannot be found out: no permission, no such scheme, no answer.
    """
    fs = file_system(url)
    name = base_name(url)
    if not without_query(url).split("/")[2] and scheme_of(url) != "memory":
        raise StorageError("no-store", f"a bucket or host is missing: {scheme_of(url)}://NAME/…")
    if without_query(url).endswith("/"):
        return Listed(name, True)
    try:
        info = with_retries(url, lambda: fs.info(url))
    except StorageError as error:
        if error.cause != "missing":
            raise
        if not is_web(url) and scheme_of(url) != "memory" and "/" not in url.partition("://")[2]:
            raise StorageError("no-store", f"there is no bucket {name}") from error
        return None
    return Listed(name, info["type"] == "directory", info.get("size"))


def version_in_store(url: str) -> tuple[int, int] | None:
    """What tells a file from another one in its place: its bytes, and a hash of how its store tells them apart.

    None where the store says neither when it was written nor anything of its content.

    Raises:
        StorageError: it is not there, or the store does not answer.
    """
    fs = file_system(url)
    info: dict[str, Any] = with_retries(url, lambda: fs.info(url))
    marks = [f"{key}={info[key]}" for key in sorted(info) if key.lower() in _MARKS and info[key] is not None]
    return (info.get("size") or 0, zlib.crc32("\n".join(marks).encode())) if marks else None


def list_folder(url: str) -> list[Listed]:
    """What is in a folder, sorted by name.

    Raises:
        StorageError: it cannot be listed.
    """
    fs = file_system(url)
    rows: list[dict[str, Any]] = with_retries(url, lambda: fs.ls(url, detail=True))
    own = _path_in(fs, url)
    listed = {one for row in rows if (one := _listed(row, own, url)) is not None}
    return sorted(listed, key=lambda one: (one.name, one.is_folder))


def _listed(row: dict[str, Any], own: str, url: str) -> Listed | None:
    path = str(row["name"])
    if is_web(url):
        if "?" in path or "#" in path:  # links that sort the listing
            return None
        path = without_query(path)
    path = path.rstrip("/")
    if path == own or not path:
        # Of `a//b` the part between the slashes is empty; an object `a/` is the mark of an empty folder.
        is_nameless = row["type"] == "directory" and row["name"].endswith("/") and not is_web(url)
        return Listed("", True) if is_nameless else None
    return Listed(base_name(f"{scheme_of(url)}://{path}"), row["type"] == "directory", row.get("size"))


def _path_in(fs: Any, url: str) -> str:
    path = fs._strip_protocol(url)
    return str(path).rstrip("/")


def require_store(url: str) -> None:
    """Check that the store of a URL can be used at all, whether or not the file is there.

    Raises:
        StorageError: no such scheme, no package, no credentials, no permission, no such bucket.
    """
    find(url)


def open_stream(url: str) -> io.BufferedReader:
    """A file read once from front to back, in blocks that are requested ahead of the reader.

    A block that breaks off is requested again by itself. A web server has to send parts of files for that (``Range``);
    of one that does not, the file is read whole.

    Raises:
        StorageError: it is not there, or cannot be read; also while it is read.
    """
    one = find(url)
    if one is None or one.is_folder:
        raise StorageError("missing", "it is not there" if one is None else "it is a folder")
    if one.size is None or one.size <= BLOCK:
        return io.BufferedReader(io.BytesIO(read_bytes(url, size=one.size)))
    if (whole := _sent_whole(url)) is not None:
        return io.BufferedReader(io.BytesIO(whole))
    return io.BufferedReader(_Blocks(url, one.size), BLOCK)


def open_parts(url: str) -> io.BufferedReader:
    """A file of which parts are read, wherever they are: each a request, repeated where it breaks off.

    Raises:
        StorageError: as :func:`open_stream`.
    """
    one = find(url)
    if one is None or one.is_folder:
        raise StorageError("missing", "it is not there" if one is None else "it is a folder")
    if one.size is None:
        return io.BufferedReader(io.BytesIO(read_bytes(url)))
    if (whole := _sent_whole(url)) is not None:
        return io.BufferedReader(io.BytesIO(whole))
    return io.BufferedReader(_Parts(url, one.size), _PART)


def _sent_whole(url: str) -> bytes | None:
    """The content of a file, where its web server sends all of it when a part is asked for."""
    if not is_web(url):
        return None
    fs = file_system(url)
    content: bytes = with_retries(url, lambda: fs.cat_file(url, start=0, end=1))
    return content if len(content) > 1 else None


class _Parts(io.RawIOBase):
    """A file that can be sought in."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._at = url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        data = read_bytes(self._url, self._at, end, size=self._size) if end > self._at else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Blocks(io.RawIOBase):
    """A file in blocks, of which some are on their way; a block that cannot be read ends it for good."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size
        self._next = 0  # where the next block to request begins
        self._pool = ThreadPoolExecutor(_BLOCKS_AHEAD, "stream")
        self._coming: deque[Future[bytes]] = deque()
        self._block = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:  # what comes after the block is in its place
            raise self._error
        while self._next < self._size and len(self._coming) < _BLOCKS_AHEAD:
            end = min(self._next + BLOCK, self._size)
            self._coming.append(self._pool.submit(read_bytes, self._url, self._next, end, size=self._size))
            self._next = end
        if not self._block and self._coming:
            try:
                self._block = memoryview(self._coming.popleft().result())
            except Exception as error:
                self._error = error
                raise
        count = min(len(buffer), len(self._block))
        buffer[:count] = self._block[:count]
        self._block = self._block[count:]
        return count

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()
