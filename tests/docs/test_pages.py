"""The pages agree with the program: tables, links, commands and flags, the length of the README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from camcli.checks import CHECKS
from camcli.cli import app
from camcli.errors import ERROR_KINDS
from camcli.methods import METHODS
from camcli.metrics import METRICS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def first_column(page: str, heading: str) -> list[str]:
    """The names in the first column of the first table after a heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table
    rows = table[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("guides/choosing_a_method.md", "## All methods", METHODS),
        ("guides/checks_in_ci.md", "## The checks", CHECKS),
        ("guides/evaluating_methods.md", "## Figures", METRICS),
        ("reference/exit_codes.md", "## Why an image failed", ERROR_KINDS),
    ],
)
def test_a_table_lists_everything_that_the_program_has(page: str, heading: str, names: Any) -> None:
    listed = first_column(page, heading)
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [link for link in links if link and not link.startswith(("http:", "https:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_flags_exist(page: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    calls = [call.split("|")[0] for line in lines for call in line.split(" && ") if call.startswith("cam ")]
    for call in calls:
        _, name, *words = shlex.split(call, comments=True)
        assert name in COMMANDS, call
        flags = {flag for each in COMMANDS[name].params for flag in (*each.opts, *each.secondary_opts)}
        assert [word for word in words if word.startswith("-") and word.split("=")[0] not in flags] == [], call


def test_the_readme_is_short_and_counts_the_methods() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 800
    assert f"{len(METHODS)} methods" in text


def test_nothing_installs_the_project_of_another_owner() -> None:
    files = [path for path in [*PAGES, *(DOCS / "ci").iterdir()] if path.is_file()]
    files += [*(ROOT / "camcli").rglob("*.py")]
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "Do not `pip install camcli`" not in line:
                assert not re.search(r"pip3? install\b[^'`\"]*\bcamcli\b", line), f"{path}: {line}"
