"""Where the files of a finished run are, seen from wherever a check is called.

Relative paths of a run are relative to where it was started. The index does not say where that was, and need not: the
run folder lies there under the name that ``--output-dir`` gave it. So ``cam check /proj/out/a`` of a run into ``out/a``
looks for ``photos`` in ``/proj`` first, and then, as any command does, in the working directory.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator

from camcli.checks.recorded import RecordedRun
from camcli.images import Entry, Sources
from camcli.images.walk import is_pattern, split_pattern
from camcli.storage import is_url


def started_in(run: RecordedRun) -> str | None:
    """The folder where the run was started; None where the path of the run folder does not show it."""
    recorded = run.header["config"]["output_dir"]
    if recorded is None:
        return None
    output_dir = os.path.normpath(recorded)
    folder = os.path.abspath(run.path)
    if os.path.isabs(output_dir) or output_dir.split(os.sep)[0] in (os.pardir, os.curdir):
        return None
    return folder.removesuffix(os.sep + output_dir) if folder.endswith(os.sep + output_dir) else None


def locate(run: RecordedRun, path: str) -> str:
    """A path that the run was given, as it is to be opened now."""
    if path.startswith("@"):
        return "@" + locate(run, path[1:])
    start = started_in(run)
    if start is None or path == "-" or is_url(path) or os.path.isabs(path):
        return path
    there = os.path.join(start, path)
    return there if _exists(there) or not _exists(path) else path


def sources_of(run: RecordedRun) -> Sources:
    """What the run explained, opened again.

    Raises:
        SourceError: something of it is not there any more.
    """
    return Sources([locate(run, path) for path in run.header["config"]["image_path"]], exclude=run.path)


def as_typed(run: RecordedRun, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same entries with their sources as the index has them."""
    typed = {locate(run, path): path for path in run.header["config"]["image_path"]}
    for entry in entries:
        yield dataclasses.replace(entry, source=typed.get(entry.source, entry.source))


def _exists(path: str) -> bool:
    return os.path.lexists(path) or (is_pattern(path) and os.path.isdir(split_pattern(path)[0]))
