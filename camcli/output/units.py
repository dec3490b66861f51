"""Rows of a run as files of units, where no journal can be appended to, or where any worker may explain any part.

The inputs are cut into units: whole batches, in their order. A unit's artefacts are written under their final names,
and last of all one file with its rows, ``shards/units/00000042.jsonl``, which appears whole: that it exists says that
the unit is done. A unit without its file is explained again, which writes the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from pathlib import Path

from camcli.concurrency import in_order
from camcli.config.parse import Shard
from camcli.errors import CamError
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.jsontext import strict_json
from camcli.output.row_keys import KeyedRow, key_of_line
from camcli.output.shard_plan import UNITS, WHOLE, Plan, read_ending, unit_name
from camcli.storage import is_remote

_READ_AT_ONCE = 8
UNIT_SCHEMA = "camcli.unit/1"
_NAME = re.compile(r"(\d{8,})\.jsonl")


class UnitError(CamError):
    """A file of a unit that is not the one its run wrote."""


class UnitFiles:
    """The files of the units of a run.

    Args:
        run_dir: the run folder.
        plan: of the run, in units.
        durable: wait for the disk with every file.
        shard: only the units of this shard.

    Attributes:
        path, plan, durable, shard: these.
        size: how many images a unit has.
    """

    def __init__(self, run_dir: Path, plan: Plan, *, durable: bool = False, shard: Shard = WHOLE) -> None:
        assert plan.unit is not None
        self.plan, self.durable = plan, durable
        self.size = plan.unit
        self.path, self.shard = run_dir, shard

    def number_of(self, ordinal: int) -> int:
        """The unit of an input, by its position."""
        return ordinal // self.size

    def share(self, number: int) -> int:
        """How many images a unit has."""
        return min(self.size, self.plan.inputs.count - number * self.size)

    @cached_property
    def done(self) -> set[int]:
        """The units that were done when this was first asked for, and those that were written since."""
        folder = self.path / UNITS
        with naming_os_errors(folder, "read"):
            try:
                names = [path.name for path in folder.iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return set()
        return {int(match[1]) for match in map(_NAME.fullmatch, names) if match}

    def missing(self) -> Iterator[int]:
        """The units that are not done."""
        return (number for number in self.numbers() if number not in self.done)

    @property
    def has_begun(self) -> bool:
        """Whether the shard has a unit that is done, or has ended."""
        return read_ending(self.path, self.shard) is not None or not self.done.isdisjoint(self.numbers())

    def write(self, number: int, rows: Sequence[bytes]) -> None:
        """Write the rows of a unit, one an image and in order, each a line without its newline.

        Raises:
            OutputError: the system refused; the unit is not done.
        """
        assert len(rows) == self.share(number)
        path = self.path / unit_name(number)
        with naming_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        head = strict_json({"schema": UNIT_SCHEMA, "unit": number, "run": self._run})
        write_atomically(path, [b"\n".join([head, *rows, b""])], durable=self.durable)
        if "done" in self.__dict__:  # a worker never lists what others have done
            self.done.add(number)

    def read(self, number: int) -> list[bytes]:
        """The rows of a unit that is done, each a line without its newline.

        Raises:
            UnitError: they are not of this run, or damaged.
            OutputError: the file cannot be read.
        """
        return [row.removesuffix(b"\n") for _, row in self._read(number)]

    def _read(self, number: int) -> list[KeyedRow]:
        path = self.path / unit_name(number)
        with naming_os_errors(path, "read"):
            head, *lines = path.read_bytes().split(b"\n")
        of_images = (b"%b\n" % line for line in lines[:-1])
        rows = [(key, row) for row in of_images if (key := key_of_line(row)) is not None]
        is_whole = lines[-1:] == [b""] and len(rows) == len(lines) - 1 == self.share(number)
        if not is_whole or not self._is_of_this_run(head, number):
            raise UnitError(
                f"{path} was changed, or belongs to another run: its images would be missing. Remove it and repeat the "
                "command that began the run: that unit is then explained again."
            )
        return rows

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The rows of all units that are done, in the order of the inputs; the offsets mean nothing."""
        return ((0, row.removesuffix(b"\n")) for _, row in self.rows())

    def rows(self) -> Iterator[KeyedRow]:
        """The rows of all units that are done, in the order of the inputs, each with its key."""
        numbers = (number for number in self.numbers() if number in self.done)
        return chain.from_iterable(self._read_all(numbers))

    def _read_all(self, numbers: Iterator[int]) -> Iterator[list[KeyedRow]]:
        """The rows of units; in an object store several are read at once, since each waits for an answer."""
        if not is_remote(str(self.path)):
            yield from map(self._read, numbers)
            return
        with ThreadPoolExecutor(_READ_AT_ONCE, "units") as pool:
            yield from in_order(pool, self._read, numbers, 2 * _READ_AT_ONCE)

    def numbers(self) -> Iterator[int]:
        """The units of the shard."""
        return iter(range(self.plan.units)[self.shard.index :: self.shard.count])

    @cached_property
    def _run(self) -> str:
        """What tells the units of this run from those of another one that was in this folder."""
        return f"{self.plan.header['fingerprint']} {self.plan.inputs.sha256} {self.plan.header['started']}"

    def _is_of_this_run(self, head: bytes, number: int) -> bool:
        try:
            fields = json.loads(head)
            return (fields["schema"], fields["unit"], fields["run"]) == (UNIT_SCHEMA, number, self._run)
        except (ValueError, TypeError, KeyError):
            return False


class UnitRows:
    """Collects rows until a unit has all of its own, and writes them then.

    Rows may come in any order; what is collected of units that never become whole is not written.

    Args:
        files: of the units.
        before: called with the number and the rows of a unit before they are written.
    """

    def __init__(self, files: UnitFiles, before: Callable[[int, Sequence[bytes]], None] | None = None) -> None:
        self._files, self._before = files, before
        self._pending: dict[int, dict[int, bytes]] = {}  # by unit, then by place in it
        self._latest: tuple[int, list[bytes]] | None = None  # a unit that is done, since its rows are asked for in turn

    def find(self, ordinal: int) -> bytes | None:
        """The row of an input whose unit is done; None where it is not, or is damaged: then it is made again.

        Raises:
            OutputError: as :meth:`UnitFiles.read`.
        """
        number = self._files.number_of(ordinal)
        if number not in self._files.done:
            return None
        if self._latest is None or self._latest[0] != number:
            try:
                self._latest = number, self._files.read(number)
            except UnitError:
                self._files.done.discard(number)
                return None
        return self._latest[1][ordinal % self._files.size]

    def begin(self, number: int, earlier: Mapping[int, bytes]) -> None:
        """Begin a unit with the rows of it that stand, by their places; the others are still to come."""
        self._pending[number] = dict(earlier)

    def drop(self, ordinal: int) -> None:
        """The row of an input does not stand any more: its unit, if it is done, is written again with another."""
        number, files = self._files.number_of(ordinal), self._files
        if number not in files.done:
            return
        if number not in self._pending:
            self.begin(number, dict(enumerate(files.read(number))))
        self._pending[number].pop(ordinal % files.size, None)

    def add(self, ordinal: int, row: bytes) -> None:
        """Add the row of an input; where its unit has all rows now, it is written.

        Raises:
            OutputError: as :meth:`UnitFiles.write`.
        """
        number, files = self._files.number_of(ordinal), self._files
        rows = self._pending.setdefault(number, {})
        rows[ordinal % files.size] = row
        if len(rows) == files.share(number):
            lines = [rows[place] for place in sorted(rows)]
            if self._before is not None:
                self._before(number, lines)
            files.write(number, lines)
            self._latest = None
            del self._pending[number]
