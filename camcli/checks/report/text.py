"""The results: a table for people, annotations for GitHub, a document for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from camcli.checks.result import Result, Status, overall
from camcli.checks.settings import Check
from camcli.errors import printable

COLOURS: dict[Status, str] = {
    "pass": "green",
    "fail": "bold red",
    "warn": "yellow",
    "inconclusive": "yellow",
    "skipped": "dim",
}
_SHOWN = 4


def coverage(results: Sequence[Result], images: int, needed: int, console: Console) -> None:
    """What the data at hand can decide, what they cannot, and how to give more: before the results.

    Args:
        results: of all checks.
        images: how many were explained.
        needed: how many a verdict takes.
        console: to print to.
    """
    decided = [result.check for result in results if result.status in ("pass", "warn", "fail")]
    console.print(f"[bold]can be decided with these data[/bold]: {', '.join(decided) or 'nothing'}", soft_wrap=True)
    gaps: dict[str, list[str]] = {}
    for result in results:
        if result.status == "skipped":
            gaps.setdefault(result.why, []).append(result.check)
    if gaps or images < needed:
        console.print("[bold]cannot be decided[/bold], and what it takes:")
        rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        if images < needed:
            few = [result.check for result in results if result.status == "inconclusive" and result.n < needed]
            more = f"{needed} images or more; there are {images} (--set suite.min_images=N accepts fewer)"
            rows.add_row(f"  {', '.join(few) or 'verdicts over images'}", more)
        for why, checks in gaps.items():
            rows.add_row(f"  {', '.join(checks)}", escape(why))
        console.print(rows)
    console.print()


def table(results: Sequence[Result], checks: dict[str, Check], console: Console) -> None:
    """A row a check with the outcome in plain words, then the worst images of what did not pass.

    A check that was skipped has no row, unless it is required; :func:`coverage` names it.
    """
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column("check", no_wrap=True)
    rows.add_column("", no_wrap=True)
    rows.add_column("what was found")
    for result in results:
        if result.status == "skipped" and not result.is_missing:
            continue
        colour = COLOURS[result.effective_status]
        question = f"[dim]{escape(checks[result.check].question)}[/dim]\n" if result.check in checks else ""
        rows.add_row(result.check, f"[{colour}]{result.status}[/{colour}]", question + escape(result.reason))
    console.print(rows)
    for result in results:
        if result.worst and result.status in ("fail", "warn", "inconclusive"):
            console.print(f"\n[bold]{result.check}[/bold]: worst images")
            for one in result.worst[:_SHOWN]:
                console.print(f"  {escape(printable(one.image))}  [dim]{escape(one.words)}[/dim]", soft_wrap=True)
    console.print(f"\n{summary(results)}")


def summary(results: Sequence[Result]) -> str:
    """``attention checks: 1 failed, 6 passed, 2 skipped``."""
    words = {"fail": "failed", "warn": "warned", "inconclusive": "inconclusive", "pass": "passed", "skipped": "skipped"}
    counts = [(sum(r.status == status and not r.is_missing for r in results), word) for status, word in words.items()]
    counts.insert(1, (sum(r.is_missing for r in results), "required but not decided"))
    return "attention checks: " + ", ".join(f"{count} {word}" for count, word in counts if count)


def github(results: Sequence[Result], path: str) -> list[str]:
    """GitHub's workflow commands: errors and warnings on the run, one line each."""
    lines = []
    levels = {"fail": "error", "warn": "warning", "inconclusive": "warning"}
    for result in results:
        level = levels.get(result.effective_status)
        if level is None:
            continue
        worst = "".join(f"\n{printable(one.image)}: {one.words}" for one in result.worst[:_SHOWN])
        title = _message(f"cam check {result.check}: {result.status}").replace(":", "%3A").replace(",", "%2C")
        lines.append(f"::{level} title={title}::{_message(f'{result.reason}{worst}')}")
    lines.append(f"::notice title=cam check::{_message(f'{summary(results)} ({path})')}")
    return lines


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def document(schema: str, results: Sequence[Result], exit_code: int, **more: Any) -> dict[str, Any]:
    """What ``--json`` prints, see :func:`camcli.schemas.check_schema`."""
    return {
        "schema": schema,
        "status": overall(results),
        "exit_code": exit_code,
        **more,
        "checks": [result.as_json() for result in results],
    }
