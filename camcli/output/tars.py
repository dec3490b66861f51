"""Artefacts in tars, one a unit, that the library ``webdataset`` reads: a sample an image, with its row as JSON.

A tar appears whole, after all images of its unit are drawn, and the file with the rows of the unit after it: so a unit
without its rows is made again, and one with them has all its artefacts.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

from camcli.errors import OutputError
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.jsontext import true_name
from camcli.output.names import ImagePlace
from camcli.output.row_keys import parse_row
from camcli.output.tar_names import in_tar, member_name, row_member, sample_key, split_member, tar_name
from camcli.schemas.index import ImageRow
from camcli.storage import is_remote, read_bytes

_IN_MEMORY = 1 << 26
"""Bytes of the artefacts of one unit that are kept without a file."""


class TarWriter:
    """Keeps artefacts until their unit is whole, then writes its tar; may be used by several threads at once.

    Args:
        run_dir: the run folder, which exists.
        size: how many images a unit has.
        several_sources: whether the run has more than one.
        durable: wait for the disk with every tar.
    """

    def __init__(self, run_dir: Path, size: int, several_sources: bool, durable: bool = False) -> None:
        self._run_dir, self._size, self._durable = run_dir, size, durable
        self._several_sources = several_sources
        self._lock = threading.Lock()
        self._units: dict[int, _Unit] = {}

    def locate(
        self, place: ImagePlace, kind: str, method: str, extension: str, *,
        layer: str | None = None, target: str | None = None,
    ) -> str:  # fmt: skip
        """Where an artefact goes, as the index names it; the arguments are those of :func:`.names.artefact_path`."""
        key = sample_key(place.image, place.source)
        member = member_name(kind, method, key, extension, layer=layer, target=target)
        return in_tar(place.ordinal // self._size, member)

    def write(self, relative: str, data: bytes) -> int:
        """Keep one artefact for its unit; an earlier one of this name is replaced.

        Args:
            relative: what :meth:`locate` gave.
            data: its content, at least one byte.

        Returns:
            Its size in bytes.

        Raises:
            OutputError: the system refused, or there is nothing to write.
        """
        where = split_member(relative)
        assert where is not None
        if not data:
            raise OutputError(f"cannot write {relative}: its encoder gave no bytes. Try another --image-format.")
        number = int(Path(where[0]).stem)
        with naming_os_errors(self._run_dir / where[0]), self._lock:
            self._unit(number).keep(where[1], data)
        return len(data)

    def write_unit(self, number: int, rows: Sequence[bytes]) -> None:
        """Write the tar of a unit, whose rows are about to be written.

        Raises:
            OutputError: the system refused.
        """
        path = self._run_dir / tar_name(number)
        with naming_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            unit = self._unit(number)
        try:
            write_atomically(path, self._blocks(path, unit, rows), durable=self._durable)
        finally:
            unit.spool.close()
            with self._lock:
                del self._units[number]

    def is_whole(self, number: int, rows: Sequence[bytes], size_of: Callable[[str], int | None]) -> bool:
        """Whether the tar of a unit is there, with what its rows name; of one in a store, by its size alone."""
        size, is_local = 0, not is_remote(str(self._run_dir))
        for line in rows:
            row = parse_row(line)
            assert row is not None
            for name, length in (row.get("sizes") or {}).items():
                tar, member = split_member(name) or ("", name)
                if is_local and member_size(self._run_dir, tar, member) != length:
                    return False
                size += _size(member, length)
            size += _size(self._row_member(row), len(line) + 1)
        return size_of(tar_name(number)) == size + len(_end(size))

    def _unit(self, number: int) -> _Unit:
        if number not in self._units:
            self._units[number] = _Unit(self._run_dir)
        return self._units[number]

    def _blocks(self, path: Path, unit: _Unit, rows: Sequence[bytes]) -> Iterator[bytes]:
        """The bytes of a tar; the same for the same rows and artefacts, whenever and by whom it is written."""
        length = 0
        for name, data in self._contents(path, unit, rows):
            for block in _member(name, data):
                length += len(block)
                yield block
        yield _end(length)

    def _contents(self, path: Path, unit: _Unit, rows: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        """The members of each image, then its row; what was not drawn now is taken from the tar that is replaced."""
        for line in rows:
            row = parse_row(line)
            assert row is not None
            for name in row.get("sizes") or {}:
                where = split_member(name)
                assert where is not None
                data = unit.get(where[1])
                yield where[1], data if data is not None else read_member(path, where[1])
            yield self._row_member(row), line + b"\n"

    def _row_member(self, row: ImageRow) -> str:
        source = true_name(row, "source") if self._several_sources else None
        return row_member(sample_key(true_name(row, "image"), source))


@dataclass
class _Unit:
    """The artefacts that are kept of a unit, by member."""

    folder: Path
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    end: int = 0
    spool: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        # In the run folder, which has room for it; the file has no name, so that nothing of it stays.
        folder = None if is_remote(str(self.folder)) else str(self.folder)
        self.spool = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=folder)  # noqa: SIM115

    def keep(self, member: str, data: bytes) -> None:
        self.spool.seek(self.end)
        self.spool.write(data)
        self.places[member] = self.end, len(data)
        self.end += len(data)

    def get(self, member: str) -> bytes | None:
        if member not in self.places:
            return None
        start, size = self.places[member]
        self.spool.seek(start)
        return self.spool.read(size)


def _member(name: str, data: bytes) -> list[bytes]:
    """A member with a header that says nothing of when and where it was written."""
    return [_header(name, len(data)), data, b"\0" * (-len(data) % tarfile.BLOCKSIZE)]


def _header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = size
    return header.tobuf(tarfile.PAX_FORMAT)


def _size(name: str, size: int) -> int:
    """The bytes of a member with its header and padding."""
    return len(_header(name, size)) + size + -size % tarfile.BLOCKSIZE


def _end(length: int) -> bytes:
    """What comes after so many bytes of members."""
    return b"\0" * (2 * tarfile.BLOCKSIZE + -(length + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)


def member_size(run_dir: str | Path, tar: str, member: str) -> int | None:
    """The bytes of a member; None where it is not there, or the tar is damaged."""
    try:
        return _members(Path(run_dir) / tar)[member][1]
    except (OSError, ValueError, KeyError, tarfile.TarError):
        return None


def read_member(path: Path, member: str) -> bytes:
    """The content of a member. Raises OutputError where it is not there."""
    with naming_os_errors(path, "read"):
        try:
            start, size = _members(path)[member]
        except (KeyError, ValueError, tarfile.TarError) as error:
            raise FileNotFoundError(2, f"there is no member {member}") from error
        if is_remote(str(path)):
            return read_bytes(str(path), start, start + size)
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)


def _members(path: Path) -> dict[str, tuple[int, int]]:
    if is_remote(str(path)):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:") as tar:
            return {one.name: (one.offset_data, one.size) for one in tar}
    status = path.stat()
    return _members_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _members_of(path: Path, size: int, modified: int) -> dict[str, tuple[int, int]]:
    """Where the content of each member is, of a tar that is whole."""
    with path.open("rb", buffering=0) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        members = {one.name: (one.offset_data, one.size) for one in tar}
        if size < tar.offset + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("cut short")
    return members
