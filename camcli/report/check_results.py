"""What ``cam check`` and ``cam diff`` have left in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camcli.checks.report.run_document import CHECK_NAME, DIFF_NAME
from camcli.checks.result import SEVERITY
from camcli.schemas.index import Header

_SCHEMAS = {CHECK_NAME: "camcli.check/1", DIFF_NAME: "camcli.diff/1"}


def read_results(folder: Path, name: str, header: Header) -> dict[str, Any] | None:
    """The document of the last ``cam check`` or ``cam diff`` of a run; None where there is none of this run.

    Args:
        folder: the run folder.
        name: :data:`CHECK_NAME` or :data:`DIFF_NAME`.
        header: of the run; a document of an earlier run in the same folder is left out.
    """
    try:
        document = json.loads((folder / name).read_text("utf-8"))
        if document["schema"] != _SCHEMAS[name] or document.get("run_finished") != header.get("finished"):
            return None
        checks = sorted(document["checks"], key=lambda one: SEVERITY.index(_effective(one)))
        return {**document, "checks": [_shown(one) for one in checks]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _effective(one: dict[str, Any]) -> Any:
    missing = one.get("required") and one["status"] in ("inconclusive", "skipped")
    return "fail" if missing else one["status"]


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    """One result, with of its details the shortcuts alone: the others can be large."""
    from camcli.checks import CHECKS

    shortcuts = (one.get("details") or {}).get("shortcuts") or []
    keys = ("check", "status", "value", "threshold", "interval", "n", "why", "conditions")
    return {
        **{key: one.get(key) for key in keys},
        "effective": _effective(one),
        "question": CHECKS[one["check"]].question if one["check"] in CHECKS else None,
        "worst": [[worst["image"], worst["source"], worst["words"]] for worst in one.get("worst", ())],
        "shortcuts": [
            {key: short.get(key) for key in ("class", "share", "without", "with", "patch", "decides")}
            for short in shortcuts
        ],
    }
