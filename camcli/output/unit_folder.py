"""A run folder, opened for a run whose rows are files of units."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from camcli.config.parse import Shard
from camcli.errors import ResumeError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import naming_os_errors, sweep_temporaries, write_atomically
from camcli.output.header import JOURNAL_NAME, header_fields
from camcli.output.index import Counts, Ending, count_items, write_index
from camcli.output.jsontext import strict_json
from camcli.output.lock import RunLock
from camcli.output.names import FOLDERS
from camcli.output.run_folder import remove_run
from camcli.output.shard_plan import SHARDS, Inputs, Plan, ending_name, lock_shard, read_ending, read_plan
from camcli.output.shards import join_plan, locked_for_a_moment
from camcli.output.tar_names import TARS
from camcli.output.tars import TarWriter
from camcli.output.units import UnitFiles
from camcli.schemas.index import Header
from camcli.storage import is_remote, run_path, scheme_of

WHOLE = Shard(0, 1)
"""The one shard of a run that nobody has divided."""


@dataclass(frozen=True)
class UnitFolder:
    """A run folder that this process may write; a context manager that releases it.

    Attributes:
        path: the folder.
        files: of the units of the shard.
        writer: writes artefacts into it.
        resumed: whether an earlier run is continued.
        abandoned: whether that did not end by itself: killed, crashed.
        notes: what the user should know.
        lock: keeps other processes out; None in a worker, whose head has it.
        shard: the part of the run that is written; :data:`WHOLE` for all of it.
    """

    path: Path
    files: UnitFiles
    writer: ArtefactWriter | TarWriter
    resumed: bool
    abandoned: bool
    notes: tuple[str, ...]
    lock: RunLock | None
    shard: Shard = WHOLE
    instead_of: str | None = None

    @property
    def plan(self) -> Plan:
        """What the workers of the run agree on."""
        return self.files.plan

    def owns(self, ordinal: int) -> bool:
        """Whether an input, by its position, is in this shard."""
        return self.shard.owns(ordinal, self.files.size)

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_units(
    run_dir: str | Path,
    header: Header,
    inputs: Inputs,
    shard: Shard = WHOLE,
    *,
    resume: bool = True,
    overwrite: bool = False,
    durable: bool = False,
) -> UnitFolder:
    """Open a run folder for a run in units, or for one shard of it, and keep other processes out until it is closed.

    Raises:
        ResumeError: the folder holds another run, or one that is not in units.
        LockedError: another process is writing it.
        OutputError: the system refused; the message names the path.
    """
    path = run_path(run_dir)
    with ExitStack() as stack:
        stack.enter_context(locked_for_a_moment(path))
        if overwrite:
            remove_run(path)
        resumed = read_plan(path) is not None
        if resumed and not resume:
            raise ResumeError(
                f"{path} holds a run already, and --no-resume forbids to continue it. Choose another --output-dir."
            )
        join_plan(path, header, shard.count, inputs, durable=durable, in_units=True)
        plan = read_plan(path)
        assert plan is not None
        abandoned = resumed and read_ending(path, shard) is None
        if resumed and shard == WHOLE:
            sweep_temporaries(path, [*FOLDERS.values(), TARS, SHARDS])
        lock = lock_shard(path, shard)
        with naming_os_errors(path):
            (path / ending_name(shard)).unlink(missing_ok=True)  # it has not ended any more
    notes, what = [], "it" if shard == WHOLE else "each shard"
    if not lock.exclusive:
        notes.append(f"{path} is {_unlocked(path)}: start only one process on {what}")
    if is_remote(str(path)) and scheme_of(str(path)) == "memory":
        notes.append(f"{path} is in the memory of this process, and gone when it ends")
    if abandoned:
        notes.append("the last start was killed or crashed: the images it was at are tried in a process of their own")
    files = UnitFiles(path, plan, durable=durable, shard=shard)
    writer = unit_writer(path, plan, durable)
    return UnitFolder(path, files, writer, resumed, abandoned, tuple(notes), lock, shard)


def unit_writer(path: Path, plan: Plan, durable: bool) -> ArtefactWriter | TarWriter:
    """What writes the artefacts of a run in units."""
    config = plan.header["config"]
    if config.get("save_to") != "tar":
        return ArtefactWriter(path, durable)
    assert plan.unit is not None
    return TarWriter(path, plan.unit, len(config["image_path"]) > 1, durable)


def _unlocked(path: Path) -> str:
    return "in an object store, which has no locks" if is_remote(str(path)) else "on a file system without locks"


def end_units(folder: UnitFolder, header: Header, ending: Ending) -> Counts:
    """Write how the run, or the shard, ended; of a whole run the index, too."""
    counts = count_items(folder.files, None, ending.passed_over)
    fields = header_fields(
        header, status=ending.status, finished=ending.finished, counts=asdict(counts), timing=ending.timing
    )
    if folder.shard == WHOLE:
        if ending.status == "complete":
            write_journal(folder.path, folder.files)
        write_index(folder.path, header, folder.files, None, ending)
    name = ending_name(folder.shard)
    write_atomically(folder.path / name, [strict_json(dict(fields)) + b"\n"], durable=folder.files.durable)
    return counts


def write_journal(run_dir: Path, files: UnitFiles) -> None:
    """Write the rows of all units as the journal that one process would have appended to."""
    head = strict_json(dict(files.plan.header)) + b"\n"
    lines = (line + b"\n" for _, line in files.lines())
    write_atomically(run_dir / JOURNAL_NAME, (chunk for chunks in ([head], lines) for chunk in chunks))
