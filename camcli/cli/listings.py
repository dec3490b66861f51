"""``cam models`` and ``cam methods``: the names that ``--model`` and ``--method`` take."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.errors import near_misses

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MODELS_HELP = "List the models that --model takes, by source."
MODELS_EXAMPLES = """Examples:

cam models resnet

cam models timm:vit --json"""
METHODS_HELP = "List the methods: key, name, paper, use of gradients, passes per image, class-specific or not."
METHODS_EXAMPLES = """Examples:

cam methods

cam methods --json"""


@takes_settings(())
def models(
    settings: dict[str, Any],
    mode: OutputMode,
    filter: str | None = typer.Argument(None, metavar="FILTER", help="Only names that contain this."),  # noqa: A002
) -> None:
    from camcli.models import known_models

    listed = known_models(filter)
    if mode.json:
        print(json.dumps([dataclasses.asdict(model) for model in listed]))
        return
    if not listed:
        near = near_misses(filter or "", [model.name for model in known_models(None)])
        typer.echo(f"no model has {filter!r} in its name." + (f" Near: {', '.join(near)}" if near else ""), err=True)
        raise typer.Exit(2)
    for model in listed:
        print(model.name if model.pretrained else f"{model.name}  (no pretrained weights)")
    typer.echo(f"{len(listed)} model{'s' * (len(listed) != 1)}; name one with --model", err=True)


@takes_settings(())
def methods(settings: dict[str, Any], mode: OutputMode) -> None:
    from camcli.methods import METHODS

    if mode.json:
        print(json.dumps([method.as_json() for method in METHODS.values()]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("method", "name", "paper", "gradients", "passes per image", "class", box=None, pad_edge=False)
    for place in (0, 2):  # people copy these; in a narrow terminal the others are folded
        table.columns[place].no_wrap = True
    for m in METHODS.values():
        table.add_row(
            m.key, m.name, m.paper, "yes" if m.uses_gradients else "no", m.cost,
            "specific" if m.class_specific else "agnostic",
        )  # fmt: skip
    print_aligned(Console(highlight=False), table)


def print_aligned(console: Console, table: Table) -> None:
    """Print a table; lines are cut at the width of a terminal, and never in a pipe."""
    if not console.is_terminal:
        from rich.console import Console

        console = Console(highlight=False, width=max(console.width, 400))
    console.print(table)
