"""The readable form of ``cam layers``.

A network has hundreds of modules, most of them like their neighbours. Shown are the outermost ones and those around
the recommended layer, equal neighbours on one line; ``--verbose`` shows all, ``--filter`` and ``--verify`` a selection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from camcli.cli.listings import print_aligned

if TYPE_CHECKING:
    from camcli.layers import LayerReport, LayerSurvey
    from camcli.models import Model

_IDENTITIES = re.compile(r"Identity|Dropout|DropPath")  # in evaluation they return their input
_SINGLE = 2  # so many equal neighbours are still shown one by one


@dataclass(frozen=True)
class _Line:
    row: LayerReport
    name: str
    guide: str = ""
    count: int = 1
    inside: int = 0  # modules that are not shown


def layer_tree(model: Model, survey: LayerSurvey, *, verbose: bool, selected: bool) -> None:
    """Print the modules: shape, layout, whether it is verified; the recommended one is highlighted.

    Args:
        model: for the heading.
        survey: the modules.
        verbose: all modules, and every reason.
        selected: the rows are a selection: each with its whole path, no tree.
    """
    console = Console(highlight=False)
    size = model.preprocessing
    console.print(
        f"[bold]{escape(model.name)}[/bold] ({escape(model.source)}, weights: {escape(model.weights)}), "
        f"input {size.channels}×{size.height}×{size.width}\n"
    )
    if selected:
        lines = [_Line(row, row.path) for row in survey.rows]
    else:
        order = {path: place for place, (path, _) in enumerate(model.module.named_modules())}
        rows = sorted(survey.rows, key=lambda row: order[row.path])
        lines = list(_Outline(rows, survey.recommended, everything=verbose).lines())
    print_aligned(console, _table(lines, verbose=verbose or selected))
    for remark in _remarks(lines, survey, partial=not (verbose or selected)):
        console.print(remark)


class _Outline:
    """The lines of the tree.

    Args:
        rows: all modules, parents before their children.
        recommended: path of the recommended layer.
        everything: fold nothing.
    """

    def __init__(self, rows: Sequence[LayerReport], recommended: str | None, *, everything: bool) -> None:
        self._children: dict[str, list[LayerReport]] = {}
        paths = {row.path for row in rows}
        for row in rows:
            parent = row.path.rpartition(".")[0]
            while parent and parent not in paths:  # a shared module is listed under one of its names only
                parent = parent.rpartition(".")[0]
            self._children.setdefault(parent, []).append(row)
        self._recommended = recommended
        self._everything = everything

    def lines(self, parent: str = "", guide: str = "") -> Iterator[_Line]:
        """The lines below a module, in order."""
        shown = [row for row in self._children.get(parent, []) if self._everything or not self._is_identity(row)]
        groups = [list(rows) for _, rows in groupby(shown, key=self._group_key)]
        groups = [part for rows in groups for part in ([rows] if len(rows) > _SINGLE else [[row] for row in rows])]
        for place, rows in enumerate(groups):
            last = place == len(groups) - 1
            names = [row.path[len(parent) :].lstrip(".") for row in (rows[0], rows[-1])]
            name = names[0] if len(rows) == 1 else " – ".join(names)
            branch = guide + ("└ " if last else "├ ") if parent else ""
            is_open = len(rows) == 1 and self._is_open(rows[0])
            inside = 0 if is_open else sum(self._size(row.path) for row in rows)
            yield _Line(rows[0], name, branch, len(rows), inside)
            if is_open:
                yield from self.lines(rows[0].path, guide + ("  " if last else "│ ") if parent else "")

    def _is_open(self, row: LayerReport) -> bool:
        """Whether the children are shown: of the parents of the recommended layer, and of most of the network."""
        above = self._recommended is not None and f"{self._recommended}.".startswith(f"{row.path}.")
        return self._everything or above or 2 * self._size(row.path) > self._size("")

    def _is_identity(self, row: LayerReport) -> bool:
        return bool(_IDENTITIES.search(row.module)) and not row.recommended

    def _group_key(self, row: LayerReport) -> object:
        """Neighbours with equal keys share a line."""
        if self._is_open(row):
            return row.path
        return row.module, row.shape, row.layout, row.grid, row.prefix_tokens, row.proof, row.gradient

    def _size(self, path: str) -> int:
        children = self._children.get(path, [])
        return len(children) + sum(self._size(child.path) for child in children)


def _table(lines: Sequence[_Line], *, verbose: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("layer", "module", "output", "layout", "status", ""):
        table.add_column(title, no_wrap=True)
    for line in lines:
        row = line.row
        several = f" [dim]×{line.count}[/dim]" if line.count > 1 else ""
        style = "bold green" if row.recommended else "bold"
        table.add_row(
            f"[dim]{line.guide}[/dim][{style}]{escape(line.name)}[/{style}]",
            f"{escape(row.module)}{several}",
            "×".join(map(str, row.shape[1:])) if row.shape else "[dim]not run[/dim]",
            _layout(row),
            _proof(row),
            _note(line, verbose=verbose),
        )
    return table


def verification(proof: str) -> str:
    """The field ``proof`` of the index in the words of messages: verified, unverified or refuted."""
    return {"proven": "verified", "unproven": "unverified"}.get(proof, proof)


def _proof(row: LayerReport) -> str:
    if row.proof == "proven":
        return "[green]verified[/green]"
    return f"[dim]{verification(row.proof)}[/dim]" if _is_map(row) else ""


def _layout(row: LayerReport) -> str:
    if row.layout is None or row.grid is None:
        return ""
    return f"{row.layout} {row.grid[0]}×{row.grid[1]}" + (f" +{row.prefix_tokens}" if row.prefix_tokens else "")


def _is_map(row: LayerReport) -> bool:
    """Whether the output has the shape of a map: three dimensions or more, and not a single cell."""
    return row.shape is not None and len(row.shape) > 2 and max(row.shape[2:]) > 1


def _note(line: _Line, *, verbose: bool) -> str:
    row = line.row
    if row.recommended:
        return "[bold green]◀ recommended[/bold green]"
    if row.proof == "proven":
        inside = f"[dim]{line.inside} inside[/dim]" if line.inside else ""
        return inside if row.gradient else "[yellow]no gradient[/yellow]"
    return f"[dim]{escape(row.reason)}[/dim]" if row.reason and (verbose or _is_map(row)) else ""


def _remarks(lines: Sequence[_Line], survey: LayerSurvey, *, partial: bool) -> Iterator[str]:
    yield ""
    if survey.recommended:
        yield f"recommended: [bold green]{escape(survey.recommended)}[/bold green]  (what --layer auto takes)"
    else:
        yield "[bold red]no layer can be recommended[/bold red]: name one with --layer and its --layout"
    prefixes = sorted({line.row.prefix_tokens for line in lines if line.row.prefix_tokens})
    if prefixes:
        yield f"[dim]+{prefixes[-1]}: tokens before those of the grid (class, distillation, registers)[/dim]"
    if any(line.row.proof == "proven" and not line.row.gradient for line in lines):
        yield "[dim]no gradient: the score does not depend on the grid there, gradient methods give empty maps[/dim]"
    hidden = len(survey.rows) - sum(line.count for line in lines)
    if partial and hidden > 0:
        yield f"[dim]{hidden} more modules: --verbose shows all, --filter TEXT those with TEXT in their path[/dim]"
