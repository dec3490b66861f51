"""Whether a folder holds a run that has ended, and why it does not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from camcli.errors import OutputError, ResumeError, SourceError
from camcli.output.header import INDEX_NAME, JOURNAL_NAME
from camcli.output.shard_plan import Plan, read_plan
from camcli.storage import StorageError, as_local, is_remote, masked, run_path, scheme_of

_COPY = {"s3": "aws s3 sync {0} RUN", "gs": "gcloud storage rsync --recursive {0} RUN"}
_COPY_ANY = "python -c \"import fsspec; fs, path = fsspec.url_to_fs('{0}'); fs.get(path + '/', 'RUN/', True)\""
"""How a folder of a store is copied to a folder RUN."""


def folder_on_disk(path: str | Path, needed_by: str | None = None) -> Path:
    """The path of a run folder for what needs it on a disk.

    Args:
        path: of the run folder.
        needed_by: what writes there; None: the run is there already, and is read.

    Raises:
        SourceError: it is in an object store; the message says what to do.
    """
    url = os.fspath(path)
    if not is_remote(url):
        return Path(as_local(url))
    if needed_by is not None:
        raise SourceError(f"{masked(url)}: {needed_by} needs the run folder on a disk. Name a folder there.")
    copy = _COPY.get(scheme_of(url), _COPY_ANY).format(url)
    raise SourceError(f"{masked(url)}: this command needs the run folder on a disk. Copy it, and name the copy: {copy}")


def is_run_folder(path: str | Path) -> bool:
    """Whether a path is a folder that a run writes or has written, shards that are not merged among them."""
    if is_remote(os.fspath(path)):
        with contextlib.suppress(StorageError):  # what is wrong with it is said when its images are listed
            return (run_path(path) / INDEX_NAME).is_file() or _plan_of(path) is not None
        return False
    return any((run_path(path) / name).is_file() for name in (INDEX_NAME, JOURNAL_NAME)) or _plan_of(path) is not None


def unmerged_plan(run_dir: str | Path) -> Plan | None:
    """The plan of a run whose shards are not merged; None where the folder holds no such run."""
    return None if (run_path(run_dir) / JOURNAL_NAME).is_file() else _plan_of(run_dir)


def _plan_of(run_dir: str | Path) -> Plan | None:
    with contextlib.suppress(ResumeError, OutputError):  # another program's, or of another version of cam
        return read_plan(run_dir)
    return None


def no_finished_run(run_dir: str | Path) -> SourceError:
    """Why a folder without an index or a journal cannot be used as a finished run."""
    folder = run_path(run_dir)
    if (plan := unmerged_plan(folder)) is not None:
        return SourceError(
            f"{folder} holds a run in {describe_shards(plan)}. Let all of them end (repeat their `cam run`), then "
            f"`cam merge {folder}`, which says what is missing."
        )
    if (folder / JOURNAL_NAME).is_file():
        return SourceError(
            f"{folder} has no {INDEX_NAME}: no run has ended there. Repeat its `cam run` to let it finish."
        )
    if not os.path.lexists(folder):
        return SourceError(f"{folder}: no such run folder. Name a folder that `cam run` has written.")
    what = f"has neither {INDEX_NAME} nor {JOURNAL_NAME}, so it is no run" if folder.is_dir() else "is no folder"
    return SourceError(f"{folder} {what}. Name a folder that `cam run` has written.")


def require_merged(run_dir: str | Path) -> None:
    """Refuse to continue as one process what shards have begun.

    Raises:
        ResumeError: the folder holds shards that are not merged.
    """
    if (run_path(run_dir) / JOURNAL_NAME).exists() or (plan := read_plan(run_dir)) is None:
        return
    raise ResumeError(
        f"{run_dir} holds a run in {describe_shards(plan)}. Finish them with the same --shard or --processes "
        f"({plan.shards}) as before, then `cam merge {run_dir}`; or choose another --output-dir, or replace what is "
        "there with --overwrite."
    )


def describe_shards(plan: Plan) -> str:
    """``3 shards that are not merged``."""
    return f"{plan.shards} shard" + ("s that are" if plan.shards != 1 else " that is") + " not merged"
