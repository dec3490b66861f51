"""The readable form of ``cam layers``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

if TYPE_CHECKING:
    from camcli.layers import LayerReport
    from camcli.models import Model


def layer_tree(model: Model, recommended: str | None, rows: Sequence[LayerReport], *, verbose: bool) -> None:
    """Print the modules as a tree: shape, layout, grid, proof; the recommended one stands out."""
    console = Console(highlight=False)
    root = Tree(f"[bold]{escape(model.name)}[/bold] ({escape(model.source)}, {escape(model.weights)})")
    branches: dict[str, Tree] = {"": root}
    order = {path: place for place, (path, _) in enumerate(model.module.named_modules())}
    for row in sorted(rows, key=lambda row: order[row.path]):
        parent = row.path
        while parent not in branches:
            parent = parent.rpartition(".")[0]
        branches[row.path] = branches[parent].add(_line(row, parent, verbose=verbose))
    console.print(root)
    if recommended:
        why = next((row.reason for row in rows if row.path == recommended and row.reason), None)
        console.print(
            f"recommended: [bold green]{escape(recommended)}[/bold green]" + (f"  ({escape(why)})" if why else "")
        )
    else:
        console.print("[bold red]no layer can be recommended[/bold red]: name one with --layer and its --layout")


def _line(row: LayerReport, parent: str, *, verbose: bool) -> str:
    name = row.path[len(parent) :].lstrip(".")
    shape = "×".join(map(str, row.shape[1:])) if row.shape else "not run"
    parts = [f"[bold]{escape(name)}[/bold]", f"[dim]{escape(row.module)}[/dim]", shape]
    if row.layout and row.grid:
        prefix = f"+{row.prefix_tokens}" if row.prefix_tokens else ""
        colour = {"proven": "green", "refuted": "red"}.get(row.proof, "yellow")
        parts.append(f"{row.layout} {row.grid[0]}×{row.grid[1]}{prefix} [{colour}]{row.proof}[/{colour}]")
    if row.recommended:
        parts.append("[bold green]◀ recommended[/bold green]")
    elif row.reason and (verbose or row.layout):
        parts.append(f"[dim]{escape(row.reason)}[/dim]")
    return "  ".join(parts)
