"""What ``cam check`` and ``cam diff`` have in common: flags, reports, and the exit code that a build stops at."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import Talk
from camcli.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from camcli.checks import Result

FORMATS = ("text", "json", "github")
FAIL_ON = ("fail", "warn", "never")

JUNIT_FLAG: Any = typer.Option(None, metavar="FILE.xml", help="JUnit XML.")
FORMAT_FLAG: Any = typer.Option("text", help=f"{', '.join(FORMATS)}.")
FAIL_ON_FLAG: Any = typer.Option("fail", help=f"{', '.join(FAIL_ON)}.")


def console_for_people() -> Console:
    """Standard output; where it is no terminal (a CI log), wide enough for a table."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class Gate:
    """Where results go, and what makes the command fail.

    Attributes:
        talk: how the command speaks.
        format: ``text``, ``json`` or ``github``.
        fail_on: ``fail``; ``warn``: also at warnings and what is inconclusive; ``never``.
        junit: file for JUnit XML.
        schema: what the JSON document follows.

    Raises:
        ConfigError: an unknown format or threshold.
    """

    talk: Talk
    format: str
    fail_on: str
    junit: str | None
    schema: str

    def __post_init__(self) -> None:
        for name, value, known in (("format", self.format, FORMATS), ("fail-on", self.fail_on, FAIL_ON)):
            if value not in known:
                raise ConfigError(
                    f"--{name} {value}: no such choice.{did_you_mean(value, known)} Choose {', '.join(known)}."
                )

    @property
    def json(self) -> bool:
        return self.talk.json or self.format == "json"

    def exit_code(self, results: Sequence[Result], run_code: int = 0) -> int:
        """1 where a check failed that counts, else the code of the run that was checked."""
        bad = {"fail": {"fail"}, "warn": {"fail", "warn", "inconclusive"}, "never": set[str]()}[self.fail_on]
        failed = any(result.status in bad for result in results)
        return run_code if run_code > 3 or (run_code == 1) else 1 if failed else run_code

    def report(
        self, results: Sequence[Result], name: str, run_code: int, people: Callable[[], None], **more: Any
    ) -> int:
        """Write and print everything; returns the exit code.

        Args:
            results: of all checks.
            name: of what was checked.
            run_code: exit code of the run that was made for it; 0 where there was none.
            people: prints the readable form to stdout.
            more: further top-level keys of the JSON document.
        """
        from camcli.checks.report.junit import junit
        from camcli.checks.report.text import document, github
        from camcli.output import write_atomically

        code = self.exit_code(results, run_code)
        if self.json:
            print(json.dumps(document(self.schema, results, code, **more), allow_nan=False))
        elif self.format == "github":
            print("\n".join(github(results, name)))
        elif not self.talk.quiet or code:
            people()
        # After what was found is said: a disk that is full must not cost that.
        if self.junit:
            strict = self.fail_on == "warn"
            about = {key: value for key, value in more.items() if isinstance(value, str)}
            write_atomically(Path(self.junit), [junit(results, f"cam {name}", strict=strict, properties=about)])
        return code


def make_room(*files: str | None) -> None:
    """Make the folders of files that will be written at the end, so that a wrong place is told at the beginning.

    Raises:
        OutputError: one cannot be made.
    """
    from camcli.output import naming_os_errors

    for file in files:
        if file:
            folder = Path(file).parent
            with naming_os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
