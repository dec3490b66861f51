"""A run folder, opened for writing: new, continued, or overwritten."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from camcli.config.parse import Shard
from camcli.errors import ResumeError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.atomic import is_temporary, naming_os_errors, sweep_temporaries
from camcli.output.compare import first_differences, is_same_run
from camcli.output.finished import require_merged
from camcli.output.header import INDEX_NAME, JOURNAL_NAME, read_header
from camcli.output.journal import Journal
from camcli.output.lock import RunLock
from camcli.output.names import EXTENSIONS, FOLDERS
from camcli.output.open_folder import ELSEWHERE_OR_OVERWRITE, OpenFolder, not_to_be_continued, notes_on_opening
from camcli.output.redrawing import MARK_NAME, is_half_drawn
from camcli.output.shard_plan import remove_shards
from camcli.output.tar_names import TARS
from camcli.schemas.index import Header
from camcli.storage import is_remote, remove_below, run_path

_ENDINGS = tuple(f".{ending}" for ending in (*EXTENSIONS, "tar"))
RESULT_NAMES = ("check.json", "diff.json")
"""The last results of ``cam check`` and ``cam diff`` of a run; they go with it."""


@dataclass(frozen=True, kw_only=True)
class RunFolder(OpenFolder):
    """A run folder whose rows go to a journal.

    Attributes:
        journal: its rows, by source and image.
        shard: the part of the run that is written; None: all of it.
    """

    journal: Journal
    shard: Shard | None = None

    def owns(self, ordinal: int, batch_size: int) -> bool:
        """Whether an input, by its position, is explained into this folder by this process."""
        return self.shard is None or self.shard.owns(ordinal, batch_size)

    def close(self) -> None:
        """Close the journal and release the folder; a second call does nothing."""
        self.journal.close()
        super().close()


def open_run(
    run_dir: str | Path, header: Header, *, resume: bool = True, overwrite: bool = False, durable: bool = False
) -> RunFolder:
    """Open a run folder for writing, and keep other processes out until it is closed.

    A folder without a run (new, empty, or with files of other origin, which stay) begins one. A folder with a run of
    the same fingerprints and sources is continued; what a killed process left half-written is removed.

    Args:
        run_dir: the folder; created where it is not there.
        header: the top-level fields of the index of the requested run.
        resume: continue what is there; without it a folder that holds a run is refused.
        overwrite: remove what a run wrote (index, journal, artefacts; no other files) and start from the beginning.
        durable: wait for the disk with every file and line.

    Raises:
        ResumeError: the folder holds a run that cannot be continued; the message says what differs.
        LockedError: another process is writing the folder.
        OutputError: the system refused; the message names the path.
    """
    path = run_path(run_dir)
    with naming_os_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = RunLock(path)
    try:
        if overwrite:
            remove_run(path)
        else:
            require_merged(path)
        recorded = read_header(path)
        if recorded is not None:
            refuse_half_drawn(path)
            check_resumable(path, recorded, header, resume)
            sweep_temporaries(path, FOLDERS.values())
            remove_shards(path)  # their rows are in the journal that goes on now
        journal = Journal.open(path, header, durable=durable)
    except BaseException:
        lock.release()
        raise
    resumed = recorded is not None
    abandoned = resumed and lock.abandoned
    return RunFolder(
        path=path, journal=journal, writer=ArtefactWriter(path, durable), resumed=resumed, abandoned=abandoned,
        notes=notes_on_opening(path, lock, abandoned), lock=lock,
    )  # fmt: skip


def check_resumable(path: Path, recorded: Header, header: Header, resume: bool) -> None:
    """Check that a run may be continued.

    Args:
        path: of its folder.
        recorded: its header.
        header: of the run that is asked for.
        resume: whether continuing is allowed at all.

    Raises:
        ResumeError: it may not, with what differs.
    """
    if not resume:
        raise not_to_be_continued(path)
    if is_same_run(recorded, header):
        return
    listed = "".join(f"\n  {line}" for line in first_differences(recorded, header))
    raise ResumeError(
        f"{path} holds a run of another configuration (there → asked for):{listed}\n{ELSEWHERE_OR_OVERWRITE}"
    )


def refuse_half_drawn(path: Path) -> None:
    """Refuse a folder whose pictures are of two kinds; raises ResumeError."""
    if is_half_drawn(path):
        raise ResumeError(
            f"{path}: a `cam render` of this folder was stopped, and some of its pictures are drawn anew and others "
            "not. Repeat that command, or replace what is there with --overwrite."
        )


def remove_run(path: Path) -> None:
    """Remove what a run wrote, where there is one; the folder is locked.

    The journal goes last: as long as it is there, the folder counts as a run's.
    """
    if not remove_shards(path) and read_header(path) is None:
        return
    with naming_os_errors(path):
        (path / INDEX_NAME).unlink(missing_ok=True)
        (path / MARK_NAME).unlink(missing_ok=True)
        for name in RESULT_NAMES:
            (path / name).unlink(missing_ok=True)
    sweep_temporaries(path, ())
    for folder in (path / name for name in (*FOLDERS.values(), TARS)):
        if is_remote(str(folder)):
            with naming_os_errors(folder):
                remove_below(str(folder), _ENDINGS)
        elif not folder.is_symlink():  # where the user's link leads to, more may lie than this run's files
            with naming_os_errors(folder):
                _remove_artefacts(folder)
    with naming_os_errors(path):
        (path / JOURNAL_NAME).unlink(missing_ok=True)


def _remove_artefacts(folder: str | Path) -> None:
    """Remove the artefacts below a folder, and the folders that this leaves empty; anything else stays."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            _remove_artefacts(entry.path)
        elif entry.name.endswith(_ENDINGS) or is_temporary(entry.name):
            os.unlink(entry.path)
    with contextlib.suppress(OSError):  # not empty: it holds files that are not ours
        os.rmdir(folder)


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from entries
