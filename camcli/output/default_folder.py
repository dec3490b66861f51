"""The run folder of a run without ``--output-dir``: ``cam-output``, or the next free one.

A folder of the same configuration is continued. One that holds anything else (another run, finished or not, one that
another process is writing, files of other origin) is left as it is, and the next number is tried: ``cam-output-2``,
``cam-output-3``, …
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from camcli.config.recommended import FILE as EVALUATION
from camcli.config.settings import DEFAULT_OUTPUT_DIR, RunConfig
from camcli.errors import LockedError, OutputError, ResumeError
from camcli.output.atomic import is_temporary
from camcli.output.compare import could_be_same_run, is_same_run
from camcli.output.finished import describe_shards, unmerged_plan
from camcli.output.header import read_header
from camcli.output.lock import LOCK_NAME
from camcli.output.run_folder import RunFolder, open_run
from camcli.schemas.index import Header

_NUMBERED = re.compile(rf"{re.escape(DEFAULT_OUTPUT_DIR)}(?:-([2-9]|[1-9]\d+))?")
_IGNORED = (LOCK_NAME, EVALUATION, "eval.csv", "eval.png")
"""Files that a free folder may hold: of a run that has not begun, and of an evaluation, for ``--method best``."""
_HEADER_WAIT, _HEADER_ATTEMPTS = 0.05, 40
"""Another process writes its header right after it has locked a folder."""


def find_earlier(config: RunConfig) -> Header | None:
    """The recorded header of the first default folder whose run may be the requested one, or None."""
    recorded = (_recorded(path) for path in _existing())
    return next((header for header in recorded if header is not None and could_be_same_run(header, config)), None)


def default_folder(header: Header) -> Path:
    """The folder that :func:`open_default_run` would open for a run with this header now."""
    return next((path for path in _existing() if _holds(path, header)), None) or next(_free_paths())


def open_default_run(header: Header, *, resume: bool = True, durable: bool = False) -> RunFolder:
    """Open the default folder of the requested run, or begin one in the next free folder; see :func:`open_run`.

    Two processes that start at once get different folders, or, where they are to do the same, the second is refused.

    Raises:
        ResumeError: the run is there already, and is not to be continued.
        LockedError: another process is making the same run.
        OutputError: the system refused; the message names the path.
    """
    for path in _existing():
        if _holds(path, header):
            return _with_note(open_run(path, in_folder(header, path), resume=resume, durable=durable))
    for path in _free_paths():
        with suppress(LockedError, ResumeError):  # another process was faster
            return _with_note(open_run(path, in_folder(header, path), resume=resume, durable=durable))
        if _holds(path, header, wait=True):
            return _with_note(open_run(path, in_folder(header, path), resume=resume, durable=durable))
    raise AssertionError("unreachable: there is always a next number")


def in_folder(header: Header, path: str | Path) -> Header:
    """The header with the run folder that was chosen."""
    return {**header, "config": {**header["config"], "output_dir": os.fspath(path)}}


def _existing() -> list[Path]:
    """The default folders that are there, lowest number first."""
    numbers = {}
    with suppress(OSError), os.scandir() as entries:
        for entry in entries:
            if match := _NUMBERED.fullmatch(entry.name):
                numbers[Path(entry.name)] = int(match[1] or 1)
    return sorted(numbers, key=numbers.__getitem__)


def _free_paths() -> Iterator[Path]:
    for number in count(1):
        path = Path(DEFAULT_OUTPUT_DIR if number == 1 else f"{DEFAULT_OUTPUT_DIR}-{number}")
        if _is_free(path):
            yield path


def _is_free(path: Path) -> bool:
    try:
        return all(name in _IGNORED or is_temporary(name) for name in os.listdir(path))
    except FileNotFoundError:
        return not os.path.lexists(path)  # a link to nowhere is not ours
    except OSError:
        return False


def _holds(path: Path, header: Header, *, wait: bool = False) -> bool:
    """Whether a folder holds the requested run; ``wait`` for a process that has just locked it to say so."""
    recorded = _recorded(path)
    for _ in range(_HEADER_ATTEMPTS if wait else 0):
        if recorded is not None or not os.path.lexists(path / LOCK_NAME):
            break
        time.sleep(_HEADER_WAIT)
        recorded = _recorded(path)
    return recorded is not None and is_same_run(recorded, header)


def _recorded(path: Path) -> Header | None:
    try:
        return read_header(path)
    except (ResumeError, OutputError):  # not ours, of another version, or not readable: left alone
        return None


def _with_note(folder: RunFolder) -> RunFolder:
    if folder.path.name == DEFAULT_OUTPUT_DIR:
        return folder
    content = _describe(Path(DEFAULT_OUTPUT_DIR))
    note = f"{DEFAULT_OUTPUT_DIR} holds {content} and is left alone; the run folder is {folder.path}"
    if content == "nothing":
        note = f"the run in {folder.path} is continued"
    return replace(folder, notes=(note, *folder.notes), instead_of=f"{DEFAULT_OUTPUT_DIR} holds {content}")


def _describe(path: Path) -> str:
    if _recorded(path) is not None:
        return "another run"
    if (plan := unmerged_plan(path)) is not None:
        return f"a run in {describe_shards(plan)} (`cam merge {path}`)"
    return "other files" if os.path.lexists(path) else "nothing"
