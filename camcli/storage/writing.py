"""Writing to object stores: an object appears when its upload has ended, and not before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from itertools import chain

from camcli.storage.errors import StorageError
from camcli.storage.filesystem import file_system
from camcli.storage.reading import find, list_folder
from camcli.storage.retry import with_retries
from camcli.storage.urls import child, is_web, scheme_of

IN_MEMORY = 1 << 23
"""Bytes of an upload that are kept without a file; larger ones are sent in parts, by stores that have that."""
_WHOLE_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory")


def require_writable(url: str) -> None:
    """Check that a URL can be that of a folder to write, as far as can be told without writing.

    Raises:
        StorageError: no such scheme, package or bucket, no credentials, no permission; or a place whose files may be
            there in part.
    """
    scheme = scheme_of(url)
    if is_web(url):
        raise StorageError("unusable", "a web server cannot be written to; name a folder, or a store such as s3://")
    fs = file_system(url)
    if scheme not in _WHOLE_OBJECTS:
        reason = "each file would be a commit" if scheme == "hf" else "its files may be there in part"
        raise StorageError("unusable", f"{scheme}:// is not written to, since {reason}; write a folder and copy it")
    found = find(url)
    if found is not None and not found.is_folder:
        raise StorageError("unusable", "an object of this name is there, and no folder")
    assert fs is not None


def write_object(url: str, chunks: Iterable[bytes]) -> int:
    """Write an object, completely or not at all; one that was there is replaced then.

    Args:
        url: of the object.
        chunks: the content, in pieces; an error raised by the iterable is passed on, and nothing is written.

    Returns:
        Its size in bytes.

    Raises:
        StorageError: it could not be written, as often as it was tried.
    """
    fs = file_system(url)
    rest, head, size = iter(chunks), list[bytes](), 0
    for chunk in rest:
        head.append(chunk)
        size += len(chunk)
        if size > IN_MEMORY:
            break
    if size <= IN_MEMORY:
        data = b"".join(head)
        with_retries(url, lambda: fs.pipe_file(url, data))
        return size
    with tempfile.TemporaryDirectory(prefix="cam-") as folder:
        path = os.path.join(folder, "object")
        with open(path, "wb") as file:
            size = sum(map(file.write, chain(head, rest)))
        with_retries(url, lambda: fs.put_file(path, url))
    return size


def remove_object(url: str) -> None:
    """Remove an object; one that is not there is none. Raises StorageError."""
    fs = file_system(url)
    try:
        with_retries(url, lambda: fs.rm_file(url))
    except StorageError as error:
        if error.cause != "missing":
            raise


def remove_below(url: str, endings: tuple[str, ...]) -> None:
    """Remove the objects below a folder whose names end so; others stay. Raises StorageError."""
    try:
        listed = list_folder(url)
    except StorageError as error:
        if error.cause == "missing":
            return
        raise
    fs = file_system(url)
    urls = [child(url, one.name) for one in listed if not one.is_folder and one.name.endswith(endings)]
    if urls:
        with_retries(url, lambda: fs.rm(urls))
    for one in listed:
        if one.is_folder and one.name:
            remove_below(child(url, one.name), endings)
