"""The commands of the reference are those of the program, with every flag and every help text."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer.main

from camcli.cli import app

pytest.importorskip("click")

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def documented() -> Any:
    path = Path(__file__).resolve().parents[2] / "docs" / "commands.py"
    spec = importlib.util.spec_from_file_location("documented_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_documented(documented: Any) -> None:
    assert list(documented.cam.commands) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_is_documented(name: str, documented: Any) -> None:
    command, copy = COMMANDS[name], documented.cam.commands[name]
    assert copy.epilog.count(f"   cam {name}") == command.epilog.count(f"cam {name}")
    assert len(copy.params) == len(command.params)
    for parameter, shown in zip(command.params, copy.params, strict=True):
        if parameter.param_type_name == "option":
            assert shown.opts == parameter.opts
            assert shown.secondary_opts == parameter.secondary_opts
            assert shown.is_flag == parameter.is_flag
        assert shown.help == documented.escape(parameter.help)


def test_help_is_taken_literally(documented: Any) -> None:
    assert documented.escape("a *list* of `cam run` | x_") == r"a \*list\* of ``cam run`` \| x\_"


def test_examples_are_one_block_of_code(documented: Any) -> None:
    text = documented.format_epilog("Examples:\n\ncam run a\n\ncam run b\n\nCodes: 0 done.")
    assert text.splitlines() == [
        "Examples:", "", ".. code-block:: text", "", "   cam run a", "", "   cam run b", "", "Codes: 0 done.",
    ]  # fmt: skip
