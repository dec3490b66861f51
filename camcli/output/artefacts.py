"""Artefacts of a run folder: written atomically, and verified by their sizes afterwards."""

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from camcli.errors import OutputError
from camcli.output.atomic import naming_os_errors, sync_folder, write_atomically
from camcli.output.names import ImagePlace, artefact_path
from camcli.output.tar_names import split_member
from camcli.output.tars import member_size, read_member
from camcli.schemas.index import ImageRow
from camcli.storage import is_remote, list_folder

_FOLDERS_REMEMBERED = 4096
_FOLDERS_LISTED = 32
EARLIER = "its pictures are of earlier settings, since its original was not there as it was"
"""The note of a row that kept its pictures when those of the others were drawn again."""


class ArtefactWriter:
    """Writes files below a run folder; may be used by several threads at once.

    Args:
        run_dir: the run folder, which exists.
        durable: wait for the disk with every file.
    """

    def __init__(self, run_dir: str | Path, durable: bool = False) -> None:
        self._run_dir = os.fspath(run_dir)
        self._durable = durable
        self._folders: set[str] = set()  # that exist; bounded, since a tree may have a folder per image

    def locate(
        self, place: ImagePlace, kind: str, method: str, extension: str, *,
        layer: str | None = None, target: str | None = None,
    ) -> str:  # fmt: skip
        """Where an artefact goes; the arguments are those of :func:`camcli.output.names.artefact_path`."""
        return artefact_path(kind, method, place.image, extension, layer=layer, target=target, source=place.slug)

    def write(self, relative: str, data: bytes) -> int:
        """Write one file, completely or not at all; an existing one is replaced.

        Args:
            relative: its path below the run folder, as :func:`camcli.output.names.artefact_path` gives it.
            data: its content, at least one byte.

        Returns:
            Its size in bytes.

        Raises:
            OutputError: the system refused, or there is nothing to write; the message names the path.
            ValueError: a path that would leave the run folder.
        """
        if relative.startswith("/") or ".." in relative.split("/"):
            raise ValueError(f"{relative!r} leaves the run folder")
        path = _absolute(self._run_dir, relative)
        if is_remote(path):
            return write_atomically(path, [_not_empty(path, data)])
        _not_empty(path, data)
        folder = os.path.dirname(path)
        if folder not in self._folders:
            self._make_folder(folder)
        try:
            return write_atomically(path, [data], durable=self._durable)
        except OutputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._make_folder(folder)  # the folder was removed in the meantime
            return write_atomically(path, [data], durable=self._durable)

    def _make_folder(self, folder: str) -> None:
        with naming_os_errors(folder):
            os.makedirs(folder, exist_ok=True)
            if self._durable:
                while len(folder) > len(self._run_dir):
                    folder = os.path.dirname(folder)
                    sync_folder(folder)
        if len(self._folders) >= _FOLDERS_REMEMBERED:
            self._folders.clear()
        self._folders.add(folder)


def _not_empty(path: str, data: bytes) -> bytes:
    if not data:
        raise OutputError(f"cannot write {path}: its encoder gave no bytes. Try another --image-format.")
    return data


SizeOf = Callable[[str], int | None]
"""Gives the bytes of an artefact by its path below the run folder; None where it is not there."""


class _ListedSizes:
    """Sizes in an object store, by the listings of folders: no request for each artefact.

    Listings are kept of the folders that were asked for last: a run asks for its artefacts in their order.
    """

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._folders: dict[str, dict[str, int | None]] = {}

    def __call__(self, relative: str) -> int | None:
        folder, _, name = relative.rpartition("/")
        if folder not in self._folders:
            while len(self._folders) >= _FOLDERS_LISTED:
                del self._folders[next(iter(self._folders))]
            self._folders[folder] = self._list(f"{self._run_dir}/{folder}")
        return self._folders[folder].get(name)

    def _list(self, url: str) -> dict[str, int | None]:
        with naming_os_errors(url, "read"), contextlib.suppress(FileNotFoundError):
            return {one.name: one.size for one in list_folder(url) if not one.is_folder}
        return {}


def sizes_in(run_dir: str | Path) -> SizeOf:
    """What gives the sizes of the artefacts of a run folder."""
    url = os.fspath(run_dir)
    return _ListedSizes(url) if is_remote(url) else functools.partial(artefact_size, run_dir)


def artefacts_intact(run_dir: str | Path, item: ImageRow, size_of: SizeOf | None = None) -> bool:
    """Whether every artefact of an index item is there with the size that was recorded (``sizes``), and of the settings
    of its run.

    Args:
        run_dir: the run folder.
        item: of the index.
        size_of: of :func:`sizes_in`, where that is asked for more than once.
    """
    size_of = size_of or sizes_in(run_dir)
    if EARLIER in item["notes"]:
        return False
    sizes: Mapping[str, int] = item.get("sizes") or {}
    paths = {path for one in item["maps"] for path in one["files"].values() if path is not None}
    return paths <= sizes.keys() and all(size_of(path) == size for path, size in sizes.items())


def artefact_size(run_dir: str | Path, relative: str) -> int | None:
    """The bytes of an artefact; None where it is not there."""
    if (where := split_member(relative)) is not None:
        return member_size(run_dir, *where)
    try:
        status = os.stat(_absolute(run_dir, relative))
    except (OSError, ValueError):  # missing or inaccessible: in both cases it has to be written again
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def read_artefact(run_dir: str | Path, relative: str) -> bytes:
    """The content of an artefact, which may be in a tar. Raises OSError where it is not there."""
    if (where := split_member(relative)) is None:
        with open(_absolute(run_dir, relative), "rb") as file:
            return file.read()
    try:
        return read_member(Path(run_dir) / where[0], where[1])
    except OutputError as error:
        raise OSError(str(error)) from error


def _absolute(run_dir: str | Path, relative: str) -> str:
    # Artefacts are named in UTF-8 in every locale.
    return os.path.join(run_dir, os.fsdecode(relative.encode("utf-8")))
