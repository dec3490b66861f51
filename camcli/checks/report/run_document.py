"""The last results of a run's checks, left in the run folder for what shows the run (``cam report``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camcli.checks.recorded import RecordedRun
from camcli.errors import OutputError
from camcli.output import RESULT_NAMES, strict_json, write_atomically

CHECK_NAME, DIFF_NAME = RESULT_NAMES


def leave_in_run(run: RecordedRun, name: str, document: Mapping[str, Any]) -> str | None:
    """Write the document of ``--json`` into the run folder, with the run's time, by which it belongs to that run.

    Args:
        run: that was checked.
        name: :data:`CHECK_NAME` or :data:`DIFF_NAME`; the last document is replaced.
        document: what ``--json`` prints.

    Returns:
        Why it could not be written: a run folder may be for reading only, which no check fails by.
    """
    try:
        write_atomically(
            run.path / name, [strict_json({**document, "run_finished": run.header.get("finished")}), b"\n"]
        )
    except OutputError as error:
        return str(error)
    return None
