"""The commands of ``cam`` in the form that sphinx-click reads, made from the Typer application itself.

Recent releases of Typer carry their own copy of Click, whose classes sphinx-click does not accept. Every command is
therefore copied, parameter by parameter, into a Click command; nothing is written down twice.
"""

from __future__ import annotations

import re
from typing import Any

import click
import typer.main

from camcli.cli import app


def copy_command(command: Any) -> click.Command:
    """A Click command with the parameters and texts of a command of Typer."""
    texts = {"help": escape(command.help), "epilog": format_epilog(command.epilog), "hidden": command.hidden}
    if hasattr(command, "commands"):
        return click.Group(
            command.name,
            params=[copy_parameter(parameter) for parameter in command.params],
            commands={name: copy_command(each) for name, each in command.commands.items()},
            **texts,
        )
    return click.Command(command.name, params=[copy_parameter(p) for p in command.params], **texts)


def copy_parameter(parameter: Any) -> click.Parameter:
    """An option or an argument, with what ``--help`` says about it."""
    if parameter.param_type_name == "argument":
        argument = click.Argument([parameter.name], nargs=parameter.nargs, required=parameter.required)
        argument.metavar = parameter.metavar
        argument.help = escape(parameter.help)  # type: ignore[attr-defined]
        return argument
    metavar = parameter.metavar or (None if parameter.is_flag else parameter.name.upper())
    option = click.Option(
        [parameter.name, *parameter.opts],
        help=escape(parameter.help),
        hidden=parameter.hidden,
        is_flag=parameter.is_flag,
        default=False if parameter.is_flag else None,
        multiple=parameter.multiple,
        metavar=metavar and re.sub(r"\[,[^\]]*\]", ",…", metavar),
    )
    option.secondary_opts = list(parameter.secondary_opts)
    return option


def escape(text: str | None) -> str:
    """Help text as reStructuredText: code in backticks stays code, all else is taken literally."""
    parts = re.split(r"(`[^`]+`)", text or "")
    return "".join(f"`{part}`" if part[:1] == "`" else re.sub(r"([*_|\\])", r"\\\1", part) for part in parts)


def format_epilog(text: str | None) -> str:
    """The examples of ``--help`` as blocks of code, between its sentences."""
    lines: list[str] = []
    in_code = False
    for paragraph in (text or "").split("\n\n"):
        starts_code = not in_code
        in_code = paragraph.startswith("cam ")
        if in_code:
            lines += [".. code-block:: text", ""] if starts_code else []
            lines += [*(f"   {line}" for line in paragraph.splitlines()), ""]
        else:
            lines += [*escape(paragraph).splitlines(), ""]
    return "\n".join(lines)


cam = copy_command(typer.main.get_command(app))
