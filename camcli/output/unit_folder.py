"""A run folder, opened for a run whose rows are files of units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from camcli.config.parse import Shard
from camcli.errors import CamError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import naming_os_errors, sweep_temporaries, write_atomically
from camcli.output.header import JOURNAL_NAME
from camcli.output.index import Counts, Ending, count_items, write_index
from camcli.output.open_folder import OpenFolder, notes_on_opening
from camcli.output.run_folder import remove_run
from camcli.output.shard_plan import (
    FOLDERS_OF_PARTS,
    WHOLE,
    Inputs,
    Plan,
    begun_name,
    ending_name,
    lock_shard,
    read_plan,
)
from camcli.output.shards import check_begun, join_plan, locked_for_a_moment, write_ending
from camcli.output.tars import TarWriter
from camcli.output.units import UnitFiles
from camcli.output.whole_journal import WholeJournal, write_whole_journal
from camcli.schemas.index import Header
from camcli.storage import run_path


@dataclass(frozen=True, kw_only=True)
class UnitFolder(OpenFolder):
    """A run folder whose rows go to files of units.

    Attributes:
        files: of the units of the shard.
    """

    files: UnitFiles

    @property
    def plan(self) -> Plan:
        """What the workers of the run agree on."""
        return self.files.plan

    @property
    def shard(self) -> Shard:
        """The part of the run that is written; :data:`.shard_plan.WHOLE` for all of it."""
        return self.files.shard

    def owns(self, ordinal: int) -> bool:
        """Whether an input, by its position, is in this shard."""
        return self.shard.owns(ordinal, self.files.size)


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
    with locked_for_a_moment(path):
        if overwrite:
            remove_run(path)
        join_plan(path, header, shard.count, inputs, durable=durable, in_units=True)
        plan = read_plan(path)
        assert plan is not None
        files = UnitFiles(path, plan, durable=durable, shard=shard)
        lock = lock_shard(path, shard)
        try:
            abandoned = lock.abandoned or (path / begun_name(shard)).exists()
            resumed = check_begun(path, shard, resume, files) or abandoned
            _begin(files, exclusive=lock.exclusive)
        except BaseException:
            lock.release()
            raise
    notes = notes_on_opening(path, lock, abandoned, "it" if shard == WHOLE else "each shard")
    return UnitFolder(
        path=path, files=files, writer=unit_writer(path, plan, durable), resumed=resumed, abandoned=abandoned,
        notes=notes, lock=lock,
    )  # fmt: skip


def _begin(files: UnitFiles, *, exclusive: bool) -> None:
    """The shard has not ended any more; what killed processes left half-written goes."""
    path, shard = files.path, files.shard
    if shard == WHOLE:
        sweep_temporaries(path, FOLDERS_OF_PARTS)
    with naming_os_errors(path):
        (path / ending_name(shard)).unlink(missing_ok=True)
        if shard == WHOLE:  # the units go on from here
            (path / JOURNAL_NAME).unlink(missing_ok=True)
    if not exclusive:
        write_atomically(path / begun_name(shard), [b"begun\n"])


def unit_writer(path: Path, plan: Plan, durable: bool) -> ArtefactWriter | TarWriter:
    """What writes the artefacts of a run in units."""
    config = plan.header["config"]
    if config.get("save_to") != "tar":
        return ArtefactWriter(path, durable)
    assert plan.unit is not None
    return TarWriter(path, plan.unit, len(config["image_path"]) > 1, durable)


class InputsChangedError(CamError):
    """The inputs of a run are not those that it began with."""


def end_units(folder: UnitFolder, header: Header, ending: Ending) -> Counts:
    """Write how the run, or the shard, ended; of a whole run the index, too.

    Raises:
        InputsChangedError: it seemed complete, and rows of its inputs are missing.
        OutputError: the system refused.
    """
    seems_complete = ending.status == "complete"
    if seems_complete and any(True for _ in folder.files.missing()):
        ending = replace(ending, status="aborted")
    if folder.shard == WHOLE:
        ending, counts = _write_index(folder, header, ending)
    else:  # the merge compares the inputs
        counts = count_items(folder.files, ending.passed_over)
    write_ending(folder.path, folder.shard, header, ending, counts, durable=folder.files.durable)
    with naming_os_errors(folder.path):
        (folder.path / begun_name(folder.shard)).unlink(missing_ok=True)
    if seems_complete and ending.status != "complete":
        missing = sum(1 for _ in folder.files.missing())
        lacks = f"rows of {missing} units are missing" if missing else "its rows are not those of all inputs in order"
        raise InputsChangedError(
            f"{folder.path}: the inputs changed while the run went, or could not all be listed again, so that {lacks}. "
            "What is finished is kept. With the inputs as they were, the same command continues; with others, choose "
            "another --output-dir, or --overwrite."
        )
    return counts


def _write_index(folder: UnitFolder, header: Header, ending: Ending) -> tuple[Ending, Counts]:
    """Write the index, of a complete run after its journal; a run without a row for each input is not complete."""
    path, plan, files = folder.path, folder.plan, folder.files
    if ending.status == "complete":
        counts = write_whole_journal(path, plan.header, files.rows(), plan.inputs, durable=files.durable)
        if counts is not None:
            rows = WholeJournal(path, durable=files.durable)
            return ending, write_index(path, header, rows, ending, counts)
        ending = replace(ending, status="aborted")
    return ending, write_index(path, header, files, ending)
