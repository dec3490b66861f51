"""What ``cam check`` and ``cam diff`` share: flags, reports, and the exit code that makes a CI build fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode
from camcli.errors import ConfigError, did_you_mean, printable

if TYPE_CHECKING:
    from rich.console import Console

    from camcli.checks import Result

FORMATS = ("text", "json", "github")
FAIL_ON = ("fail", "warn", "never")

JUNIT_FLAG: Any = typer.Option(None, metavar="FILE.xml", help="Write the results as JUnit XML.")
FORMAT_FLAG: Any = typer.Option(
    "text", metavar="FORMAT", help="Format on stdout: text (tables), json, github (annotations of a workflow)."
)
FAIL_ON_FLAG: Any = typer.Option(
    "fail",
    metavar="STATUS",
    help="What ends with exit code 1: fail (failures, and required checks that were not decided), warn (warnings and "
    "inconclusive results as well), never (the results are only reported, required checks included).",
)


def console_for_people() -> Console:
    """Standard output; wide enough for a table where it is not a terminal (a CI log)."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class Reporter:
    """Writes results, and decides the exit code.

    Attributes:
        mode: what is printed.
        format: ``text``, ``json`` or ``github``.
        fail_on: ``fail``; ``warn``: also at warnings and inconclusive results; ``never``.
        junit: file for JUnit XML.
        schema: of the JSON document.

    Raises:
        ConfigError: an unknown format or threshold.
    """

    mode: OutputMode
    format: str
    fail_on: str
    junit: str | None
    schema: str

    def __post_init__(self) -> None:
        for name, value, choices in (("format", self.format, FORMATS), ("fail-on", self.fail_on, FAIL_ON)):
            if value not in choices:
                raise ConfigError(
                    f"--{name} {value}: no such choice.{did_you_mean(value, choices)} Choose {', '.join(choices)}."
                )

    @property
    def json(self) -> bool:
        return self.mode.json or self.format == "json"

    def exit_code(self, results: Sequence[Result], run_code: int = 0) -> int:
        """1 if a result counts as a failure, else the code of the run that was checked."""
        bad = {"fail": {"fail"}, "warn": {"fail", "warn", "inconclusive"}, "never": set[str]()}[self.fail_on]
        failed = any(result.effective_status in bad for result in results)
        return run_code if run_code > 3 or (run_code == 1) else 1 if failed else run_code

    def report(
        self, results: Sequence[Result], name: str, run_code: int, print_text: Callable[[], None],
        leave: Callable[[Mapping[str, Any]], str | None], **more: Any,
    ) -> int:  # fmt: skip
        """Write and print everything; returns the exit code.

        Args:
            results: of all checks.
            name: of what was checked.
            run_code: exit code of the run that was made for it; 0 if there was none.
            print_text: prints the readable form to stdout.
            leave: keeps the JSON document in the run folder, for `cam report`; returns why it could not.
            more: further top-level keys of the JSON document.
        """
        from camcli.checks.report.junit import junit
        from camcli.checks.report.text import document, github
        from camcli.output import write_named_file

        code = self.exit_code(results, run_code)
        whole = document(self.schema, results, code, **more)
        if self.json:
            print(json.dumps(whole, allow_nan=False))
        elif self.format == "github":
            print("\n".join(github(results, name)))
        elif not self.mode.quiet or code:
            print_text()
        # After the results are printed: a full disk must not lose them.
        if self.junit:
            strict = self.fail_on == "warn"
            about = {key: value for key, value in more.items() if isinstance(value, str)}
            write_named_file("--junit", self.junit, [junit(results, f"cam {name}", strict=strict, properties=about)])
        if (problem := leave(whole)) is not None and not self.mode.quiet:
            print(printable(f"note: `cam report` will not show these results: {problem}"), file=sys.stderr)
        return code


def check_named_files(files: Mapping[str, str | None]) -> None:
    """Refuse at the beginning what could not be written at the end: the file of each flag; None: not given."""
    from camcli.output import check_named_file

    for option, file in files.items():
        if file:
            check_named_file(option, file)
