"""A run folder by its path or URL: of both, the same methods."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from camcli.storage.errors import StorageError
from camcli.storage.reading import find, list_folder, open_stream, read_bytes
from camcli.storage.urls import as_local, base_name, child, is_remote, parent, without_slash
from camcli.storage.writing import remove_object


def run_path(path: str | os.PathLike[str]) -> Path:
    """The path of a run folder, or of something in it: a ``pathlib.Path``, or of a URL what has its methods."""
    text = as_local(os.fspath(path))
    # It has those methods of a Path that are used of run folders, not all: what else is called raises AttributeError.
    return cast(Path, StorePath(text)) if is_remote(text) else Path(text)


class StorePath:
    """What is at a URL of an object store. Folders are there as soon as something is in them."""

    def __init__(self, url: str, is_folder: bool | None = None) -> None:
        self._url = without_slash(url)
        self._is_folder = is_folder  # where a listing said so

    def __fspath__(self) -> str:
        return self._url

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"StorePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(child(self._url, name))

    @property
    def name(self) -> str:
        """The last component."""
        return base_name(self._url)

    @property
    def parent(self) -> StorePath:
        """The folder that it is in."""
        return StorePath(parent(self._url))

    def exists(self) -> bool:
        """Whether an object or a folder is there."""
        return find(self._url) is not None

    def is_file(self) -> bool:
        """Whether an object is there."""
        found = find(self._url)
        return found is not None and not found.is_folder

    def is_dir(self) -> bool:
        """Whether something is in it."""
        if self._is_folder is None:
            found = find(self._url)
            self._is_folder = found is not None and found.is_folder
        return self._is_folder

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def iterdir(self) -> Iterator[StorePath]:
        """What is in it."""
        named = (one for one in list_folder(self._url) if one.name)
        return iter([StorePath(child(self._url, one.name), one.is_folder) for one in named])

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: see the class."""

    def read_bytes(self) -> bytes:
        """The content of the object."""
        return read_bytes(self._url)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The content of the object, as text."""
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The object as a stream, to be read once from front to back."""
        assert mode == "rb"
        return open_stream(self._url)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        if not missing_ok and not self.exists():
            raise StorageError("missing", "it is not there")
        remove_object(self._url)
