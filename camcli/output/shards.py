"""A run folder, opened for one shard of a run: its journal is its own, artefacts are where one process puts them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from camcli.config.parse import Shard
from camcli.errors import LockedError, ResumeError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.header import header_fields, read_header, read_journal_header
from camcli.output.index import Counts, Ending, Rows, count_items
from camcli.output.journal import Journal
from camcli.output.jsontext import strict_json
from camcli.output.lock import RunLock
from camcli.output.open_folder import not_to_be_continued, notes_on_opening
from camcli.output.run_folder import RunFolder, check_resumable, refuse_half_drawn
from camcli.output.shard_plan import (
    WHOLE,
    Inputs,
    Plan,
    check_plan,
    ending_name,
    journal_name,
    lock_shard,
    make_plan,
    read_plan,
    write_plan,
)
from camcli.output.units import UnitFiles
from camcli.schemas.index import Header
from camcli.storage import run_path

_WAIT, _ATTEMPTS = 0.05, 400
"""Shards that start together hold the run folder for a moment each."""


def open_shard(
    run_dir: str | Path, header: Header, shard: Shard, inputs: Inputs, *, resume: bool = True, durable: bool = False
) -> RunFolder:
    """Open a run folder for one shard, and keep other processes out of this shard until it is closed.

    Raises:
        ResumeError: the folder holds another run, the shards of another, or a run that is not in shards.
        LockedError: another process is writing this shard, or the whole run.
        OutputError: the system refused; the message names the path.
    """
    path = run_path(run_dir)
    with locked_for_a_moment(path):
        join_plan(path, header, shard.count, inputs, durable=durable)
        lock = lock_shard(path, shard)
    try:
        resumed = check_begun(path, shard, resume)
        with naming_os_errors(path):
            (path / ending_name(shard)).unlink(missing_ok=True)  # it has not ended any more
        journal = Journal.open(path, header, durable=durable, name=journal_name(shard))
    except BaseException:
        lock.release()
        raise
    abandoned = resumed and lock.abandoned
    return RunFolder(
        path=path, journal=journal, writer=ArtefactWriter(path, durable), resumed=resumed, abandoned=abandoned,
        notes=notes_on_opening(path, lock, abandoned, "each shard"), lock=lock, shard=shard,
    )  # fmt: skip


def check_begun(run_dir: Path, shard: Shard, resume: bool, units: UnitFiles | None = None) -> bool:
    """Check that a shard, or an undivided run, is new or may be continued; whether it has begun already.

    Args:
        run_dir: the run folder.
        shard: the shard.
        resume: whether it may be continued.
        units: the files of its units; None: it has a journal.

    Raises:
        ResumeError: it has, and is not to be continued.
    """
    has_begun = _has_journal(run_dir, shard) if units is None else units.has_begun
    if has_begun and not resume:
        what = "a run" if shard == WHOLE else f"shard {shard}"
        raise not_to_be_continued(run_dir, what, "Choose another --output-dir.")
    return has_begun


def _has_journal(run_dir: Path, shard: Shard) -> bool:
    return read_journal_header(run_dir, journal_name(shard)) is not None


@contextmanager
def locked_for_a_moment(run_dir: Path) -> Iterator[None]:
    """Keep other processes out of a run folder, which is created; wait for those that do the same."""
    with naming_os_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            lock = RunLock(run_dir)
            break
        except LockedError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_WAIT)
    with lock:
        yield


def join_plan(
    run_dir: Path, header: Header, shards: int, inputs: Inputs, *, durable: bool = False, in_units: bool = False
) -> None:
    """Write the plan of a run in shards, or compare with the one that is there; the folder is locked.

    Raises:
        ResumeError: the folder holds another run, or one that is not in shards.
    """
    plan = make_plan(header, shards, inputs, in_units=in_units)
    if not is_joinable(run_dir, plan):
        write_plan(run_dir, plan, durable=durable)


def is_joinable(run_dir: Path, plan: Plan) -> bool:
    """Whether a run folder holds shards of this very run; where it does not, it holds none.

    Raises:
        ResumeError: the folder holds another run, or one that is not in shards.
    """
    recorded = read_plan(run_dir)
    if recorded is not None:
        refuse_half_drawn(run_dir)
        check_plan(run_dir, recorded, plan)
    elif (earlier := read_header(run_dir)) is not None:
        check_resumable(run_dir, earlier, plan.header, resume=True)
        raise ResumeError(
            f"{run_dir} holds a run of one process. Continue it without --shard, --processes, --engine ray and "
            "--save-to tar, or choose another --output-dir."
        )
    return recorded is not None


def end_shard(folder: RunFolder, header: Header, rows: Rows, ending: Ending) -> Counts:
    """Write how a shard ended, with the counts of its rows, in place of an index."""
    assert folder.shard is not None
    counts = count_items(rows, ending.passed_over)
    write_ending(folder.path, folder.shard, header, ending, counts, durable=folder.journal.durable)
    return counts


def write_ending(
    run_dir: Path, shard: Shard, header: Header, ending: Ending, counts: Counts, *, durable: bool = False
) -> None:
    """Write what :func:`.shard_plan.read_ending` reads."""
    fields = header_fields(
        header, status=ending.status, finished=ending.finished, counts=asdict(counts), timing=ending.timing
    )
    write_atomically(run_dir / ending_name(shard), [strict_json(dict(fields)) + b"\n"], durable=durable)
