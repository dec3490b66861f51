"""Join the shards of a run: the journal and the index that one process would have written.

The rows of a shard that ended are in the order of its inputs, and the parts are dealt out in turn: so the rows are
copied one after the other, from one file after the other, and memory holds none of them. That every input is there
exactly once is shown by the hash of all names in order, which the shards computed before they began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from camcli.engines.missing import IncompleteError, describe_missing
from camcli.engines.shard_rows import ShardRows
from camcli.errors import ConfigError, ResumeError
from camcli.output import INDEX_NAME, JOURNAL_NAME, read_header, write_tables
from camcli.output.atomic import sweep_temporaries
from camcli.output.compare import is_same_run
from camcli.output.index import Ending, FinalStatus, Rows, write_index
from camcli.output.lock import RunLock
from camcli.output.row_keys import KeyedRow
from camcli.output.shard_plan import FOLDERS_OF_PARTS, InputDigest, Plan, read_ending, read_plan, require_no_writer
from camcli.output.units import UnitFiles
from camcli.output.whole_journal import WholeJournal, write_whole_journal
from camcli.schemas.index import Header, Timing
from camcli.storage import run_path


@dataclass(frozen=True)
class Merged:
    """A run whose shards were joined.

    Attributes:
        run_dir: the run folder.
        shards: how many there are.
        status: of the index.
        counts, timing: as in the index.
    """

    run_dir: Path
    shards: int
    status: FinalStatus
    counts: dict[str, int]
    timing: Timing

    @property
    def exit_code(self) -> int:
        """As that of ``cam run``: 3 where images failed."""
        return 3 if self.counts["failed"] else 0


def merge(
    run_dir: str | Path, csv: str | None = None, timing: Timing | None = None, parquet: str | None = None
) -> Merged:
    """Write the index of a run whose shards have ended; a second call writes the same.

    Args:
        run_dir: the run folder.
        csv, parquet: files for the index as a flat table.
        timing: of the whole run, where that is known.

    Raises:
        ConfigError: the folder holds no shards.
        ResumeError: the run was changed after it was merged.
        IncompleteError: shards or images are missing; the message names them.
        LockedError: a shard, or the run, is being written.
        OutputError: the system refused.
    """
    path = run_path(run_dir)
    plan = _require_plan(path)
    with RunLock(path):
        require_no_writer(path, plan.all_shards())
        recorded = read_header(path)
        if recorded is not None and not is_same_run(recorded, plan.header):
            raise ResumeError(
                f"{path} was merged already, and changed since (`cam render`): merging again would undo that. To do "
                f"so, remove {path / JOURNAL_NAME} and {path / INDEX_NAME}."
            )
        ends = _endings(path, plan)
        if ends is None:
            raise IncompleteError(describe_missing(path, plan))
        header: Header = {**plan.header, "started": min(end["started"] for end in ends)}
        sweep_temporaries(path, FOLDERS_OF_PARTS)
        counts = write_whole_journal(path, header, _rows(path, plan), plan.inputs)
        if counts is None:
            raise IncompleteError(
                f"{path}: the rows of the shards are not those of the inputs, one each and in order: a journal in "
                f"{path / 'shards'} was changed or damaged. Repeat the commands of the shards, then `cam merge`."
            )
        rows = WholeJournal(path)
        finished = max(end["finished"] or "" for end in ends)
        ending = Ending("complete", finished, timing or _sum_timing(ends), _passed_over(ends))
        counts = write_index(path, header, rows, ending, counts)
        write_tables(csv, parquet, rows)
    return Merged(path, plan.shards, "complete", asdict(counts), ending.timing)


def merge_if_all_ended(run_dir: str | Path) -> Merged | None:
    """Merge where every shard has ended, and no other process is about to; otherwise do nothing.

    Each shard calls this after it has written how it ended: so the one that ends last sees that all have.
    """
    path = run_path(run_dir)
    return None if _endings(path, _require_plan(path)) is None else merge(path)


def _endings(path: Path, plan: Plan) -> list[Header] | None:
    """How each shard ended; None where one has not, or not completely."""
    endings = [read_ending(path, shard) for shard in plan.all_shards()]
    ends = [ending for ending in endings if ending is not None and ending["status"] == "complete"]
    return ends if len(ends) == plan.shards else None


def write_partial_index(
    run_dir: str | Path, names: Iterable[tuple[str, str]], status: FinalStatus, finished: str, timing: Timing
) -> dict[str, int]:
    """Write the index of what is there so far, of a run that was interrupted; its shards stay as they are.

    Args:
        run_dir: the run folder.
        names: source and image of every input, in order; iterated more than once.
        status: of the index.
        finished, timing: as in the index.

    Returns:
        The counts of the index.
    """
    path = run_path(run_dir)
    plan = _require_plan(path)
    with RunLock(path):
        rows: Rows = UnitFiles(path, plan) if plan.unit is not None else _PartialRows(path, plan, names)
        return asdict(write_index(path, plan.header, rows, Ending(status, finished, timing)))


class _PartialRows:
    """The rows that journals have so far, in the order of the inputs: those of each are in that order already."""

    durable = False

    def __init__(self, path: Path, plan: Plan, names: Iterable[tuple[str, str]]) -> None:
        self._path, self._plan, self._names = path, plan, names

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each row; the offsets mean nothing."""
        plan, digest = self._plan, InputDigest()
        with ShardRows(self._path, plan) as rows:
            shards = [rows.of(shard) for shard in plan.all_shards()]
            following = [next(own, None) for own in shards]
            for ordinal, (source, image) in enumerate(self._names):
                key, index = digest.add(source, image), plan.shard_of(ordinal)
                row = following[index]
                if row is not None and row[0] == key:
                    yield 0, row[1].removesuffix(b"\n")
                    following[index] = next(shards[index], None)


def _rows(path: Path, plan: Plan) -> Iterator[KeyedRow]:
    """The rows of all shards, in the order of the inputs as far as each shard has its own, then what is left."""
    if plan.unit is not None:  # they are in that order, whichever shard each unit belongs to
        yield from UnitFiles(path, plan).rows()
        return
    with ShardRows(path, plan) as rows:
        shards = [rows.of(shard) for shard in plan.all_shards()]
        for ordinal in range(plan.inputs.count):
            row = next(shards[plan.shard_of(ordinal)], None)
            if row is None:
                break
            yield row
        yield from chain.from_iterable(shards)


def _require_plan(path: Path) -> Plan:
    plan = read_plan(path)
    if plan is None:
        if (path / INDEX_NAME).exists():
            raise ConfigError(f"{path} holds no shards: its index is whole already, and there is nothing to merge.")
        raise ConfigError(f"{path} holds no shards. Give the folder that `cam run --shard I/N --output-dir` wrote.")
    return plan


def _sum_timing(ends: list[Header]) -> Timing:
    """Seconds of the slowest shard; rates and busy seconds of all."""
    timings = [end["timing"] for end in ends if end["timing"] is not None]
    seconds = max((timing["seconds"] for timing in timings), default=0.0)
    rate = round(sum(timing["images_per_second"] for timing in timings), 3)
    return {"seconds": seconds, "images_per_second": rate, "stages": sum_stages(timings)}


def sum_stages(timings: Iterable[Timing]) -> dict[str, float]:
    """Busy seconds of each stage, of all processes."""
    stages: dict[str, float] = {}
    for timing in timings:
        for stage, spent in timing["stages"].items():
            stages[stage] = round(stages.get(stage, 0.0) + spent, 4)
    return stages


def _passed_over(ends: list[Header]) -> int:
    """Files that are no images; every shard lists all of them."""
    return max((end["counts"]["passed_over"] for end in ends if end["counts"] is not None), default=0)
