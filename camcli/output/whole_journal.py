"""The journal of a run that several have written: its rows are copied in the order of the inputs, none is kept.

That every input has its row, once and in order, is shown by the hash of all names, which was computed before the first
image was explained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.header import JOURNAL_NAME
from camcli.output.index import Counts, damage_error
from camcli.output.jsontext import strict_json
from camcli.output.row_keys import KeyedRow, parse_row
from camcli.output.shard_plan import InputDigest, Inputs
from camcli.schemas.index import Header


class WholeJournal:
    """The journal of a run folder, whose rows are read as they stand.

    Args:
        run_dir: the run folder.
        durable: wait for the disk with what is written of it.
    """

    def __init__(self, run_dir: Path, *, durable: bool = False) -> None:
        self._path, self.durable = run_dir / JOURNAL_NAME, durable

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each row with its offset, without its newline."""
        with naming_os_errors(self._path, "read"), self._path.open("rb") as file:
            offset = len(file.readline())
            for line in file:
                yield offset, line.removesuffix(b"\n")
                offset += len(line)


class _OtherInputsError(Exception):
    """The rows are not those of the inputs."""


def write_whole_journal(
    run_dir: Path, header: Header, rows: Iterable[KeyedRow], inputs: Inputs, *, durable: bool = False
) -> Counts | None:
    """Write the rows of a run as the journal that one process would have appended to.

    Args:
        run_dir: the run folder.
        header: of the journal.
        rows: of all inputs; iterated once.
        inputs: of the run.
        durable: wait for the disk.

    Returns:
        The counts of the rows; None where they are not those of the inputs, one each and in order: then nothing was
        written.

    Raises:
        OutputError: the system refused, or a row is damaged; nothing was written.
    """
    counts = Counts()
    try:
        write_atomically(run_dir / JOURNAL_NAME, _journal(header, rows, inputs, counts), durable=durable)
    except _OtherInputsError:
        return None
    return counts


def _journal(header: Header, rows: Iterable[KeyedRow], inputs: Inputs, counts: Counts) -> Iterator[bytes]:
    """The lines of the journal; adds up the counts of its rows."""
    digest, line = InputDigest(), strict_json(dict(header)) + b"\n"
    yield line
    offset = len(line)
    for key, row in rows:
        item = parse_row(row)
        if item is None:
            raise damage_error(offset)
        counts.add(item)
        digest.add_key(key)
        yield row
        offset += len(row)
    if digest.inputs != inputs:
        raise _OtherInputsError
