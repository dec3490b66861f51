"""Artefacts of a run folder: written atomically, and known by their sizes afterwards."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from camcli.errors import OutputError
from camcli.output.atomic import naming_os_errors, sync_folder, write_atomically
from camcli.schemas.index import ImageRow

_FOLDERS_REMEMBERED = 4096


class ArtefactWriter:
    """Writes files below a run folder; may be used by several threads at once.

    Args:
        run_dir: the run folder, which exists.
        durable: wait for the disk with every file.
    """

    def __init__(self, run_dir: str | Path, durable: bool = False) -> None:
        self._run_dir = os.fspath(run_dir)
        self._durable = durable
        self._made: set[str] = set()  # folders that are there; bounded, since a tree may have a folder per image

    def write(self, relative: str, data: bytes) -> int:
        """Put one file in its place, complete or not at all; an existing one is replaced.

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
        if not data:
            raise OutputError(f"cannot write {path}: its encoder gave no bytes. Try another --image-format.")
        folder = os.path.dirname(path)
        if folder not in self._made:
            self._make(folder)
        try:
            return write_atomically(path, [data], durable=self._durable)
        except OutputError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._make(folder)  # somebody removed the folder since it was made
            return write_atomically(path, [data], durable=self._durable)

    def _make(self, folder: str) -> None:
        with naming_os_errors(folder):
            os.makedirs(folder, exist_ok=True)
            if self._durable:
                while len(folder) > len(self._run_dir):
                    folder = os.path.dirname(folder)
                    sync_folder(folder)
        if len(self._made) >= _FOLDERS_REMEMBERED:
            self._made.clear()
        self._made.add(folder)


def artefacts_intact(run_dir: str | Path, item: ImageRow) -> bool:
    """Whether every artefact of an index item is there with the size that was recorded (``sizes``)."""
    sizes: Mapping[str, int] = item.get("sizes") or {}
    named = {path for one in item["maps"] for path in one["files"].values() if path is not None}
    return named <= sizes.keys() and all(_size(run_dir, path) == size for path, size in sizes.items())


def _size(run_dir: str | Path, relative: str) -> int | None:
    try:
        status = os.stat(_absolute(run_dir, relative))
    except (OSError, ValueError):  # gone, or out of reach: in either case it has to be made again
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _absolute(run_dir: str | Path, relative: str) -> str:
    # Artefacts are named in UTF-8 in every locale.
    return os.path.join(run_dir, os.fsdecode(relative.encode("utf-8")))
