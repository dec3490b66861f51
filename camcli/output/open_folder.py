"""What run folders that are open for writing have in common, whether rows go to a journal or to files of units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from camcli.errors import ResumeError
from camcli.output.artefacts import ArtefactWriter
from camcli.output.lock import RunLock
from camcli.output.tars import TarWriter
from camcli.storage import is_remote, scheme_of

ELSEWHERE_OR_OVERWRITE = "Choose another --output-dir, or replace what is there with --overwrite."
"""What to do about a folder that holds another run, where it can be replaced."""


@dataclass(frozen=True, kw_only=True)
class OpenFolder:
    """A run folder that this process may write; a context manager that releases it.

    Attributes:
        path: the folder.
        writer: writes artefacts into it.
        resumed: whether an earlier run is continued.
        abandoned: whether it is continued after a process that did not end by itself: killed, crashed.
        notes: what the user should know.
        lock: keeps other processes out; None in a worker, whose head has it.
        instead_of: what the default folder holds, where the run is therefore in another one.
    """

    path: Path
    writer: ArtefactWriter | TarWriter
    resumed: bool = False
    abandoned: bool = False
    notes: tuple[str, ...] = ()
    lock: RunLock | None = None
    instead_of: str | None = None

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def not_to_be_continued(path: Path, what: str = "a run", way_out: str = ELSEWHERE_OR_OVERWRITE) -> ResumeError:
    """The error of a folder that holds something that ``--no-resume`` forbids to continue."""
    return ResumeError(f"{path} holds {what} already, and --no-resume forbids to continue it. {way_out}")


def notes_on_opening(path: Path, lock: RunLock, abandoned: bool, each: str = "it") -> tuple[str, ...]:
    """What the user should know of a folder that was opened.

    Args:
        path: of the folder.
        lock: its own, or that of a shard.
        abandoned: as in :class:`OpenFolder`.
        each: what only one process may write.
    """
    notes, is_in_store = [], is_remote(str(path))
    if not lock.exclusive:
        where = "in an object store, which has no locks" if is_in_store else "on a file system without locks"
        notes.append(f"{path} is {where}: start only one process on {each}")
    if is_in_store and scheme_of(str(path)) == "memory":
        notes.append(f"{path} is in the memory of this process, and gone when it ends")
    if abandoned:
        notes.append("the last start was killed or crashed: the images it was at are tried in a process of their own")
    return tuple(notes)
