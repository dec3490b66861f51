"""The rows that shards have, read one part after the other, of any number of shards.

Parts are dealt out in turn, so that the rows of all shards are read at once. A bounded number of files is open: of more
shards, each is opened again for its next part, where it was left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from camcli.config.parse import Shard
from camcli.output.atomic import naming_os_errors
from camcli.output.row_keys import KeyedRow, key_of_line
from camcli.output.shard_plan import Plan, journal_name
from camcli.output.units import UnitFiles

_MOST_OPEN = 64


class ShardRows:
    """Reads the rows of the shards of a run; it is left as a context, which closes its files.

    Args:
        run_dir: the run folder.
        plan: of the run.
    """

    def __init__(self, run_dir: Path, plan: Plan) -> None:
        self._run_dir, self._plan = run_dir, plan
        self._files: dict[Path, BinaryIO] = {}

    def of(self, shard: Shard) -> Iterator[KeyedRow]:
        """The whole rows of a shard, as far as it came; of one that has not started none.

        Raises:
            OutputError: the system refused.
            UnitError: the file of a unit is not the one its run wrote.
        """
        if self._plan.unit is not None:
            yield from UnitFiles(self._run_dir, self._plan, shard=shard).rows()
            return
        path, place, header = self._run_dir / journal_name(shard), 0, 1
        while lines := self._read(path, place, self._plan.part + header):
            place += sum(map(len, lines))
            for line in lines[header:]:
                if (key := key_of_line(line)) is not None:
                    yield key, line
            header = 0

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, path: Path, place: int, count: int) -> list[bytes]:
        """So many lines from a place on, where the last reading of this file ended."""
        with naming_os_errors(path, "read"), suppress(FileNotFoundError):
            file = self._files.get(path)
            if file is None:
                file = path.open("rb")
                file.seek(place)
                if len(self._files) < _MOST_OPEN:
                    self._files[path] = file
            try:
                return list(islice(file, count))
            finally:
                if path not in self._files:
                    file.close()
        return []
