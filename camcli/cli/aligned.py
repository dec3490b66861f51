"""Tables for people and for pipes."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_aligned(console: Console, table: Table) -> None:
    """Lines end at the edge of a terminal, and nowhere in a pipe."""
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 400))
    console.print(table)
