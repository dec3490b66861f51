"""Comparison figures of finished runs: images across; methods, layers or targets down. Read :func:`write_sheet`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from camcli.errors import ConfigError, SourceError, did_you_mean
from camcli.output import write_named_file
from camcli.render.pages import Page, encode_page, encode_pdf, page_format
from camcli.report.sheet_layout import ROWS, Plan, RunOfSheet
from camcli.schemas.index import ExplainedRow

SORTS = ("name", "probability", "entropy", "border")
COLUMNS, LIMIT, MOST_COLUMNS = 6, 48, 40


@dataclass(frozen=True)
class SheetOptions:
    """How a sheet is made.

    Attributes:
        columns: pictures across a page.
        rows: what goes down, of :data:`ROWS`; empty: what the run has several of. With ``image`` every image is beside
            its maps instead of above them.
        sort: one of :data:`SORTS`, with ``-`` before it from the highest down; None: the order of the run.
        limit: at most so many images; None: :data:`LIMIT`.

    Raises:
        ConfigError: one of them is not allowed.
    """

    columns: int = COLUMNS
    rows: tuple[str, ...] = ()
    sort: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in self.rows:
            if name not in ROWS:
                raise ConfigError(f"--rows {name}: choose from {', '.join(ROWS)}.{did_you_mean(name, ROWS)}")
        if self.sort is not None and self.sort.removeprefix("-") not in SORTS:
            listed = ", ".join(SORTS)
            raise ConfigError(
                f"--sort {self.sort}: choose from {listed}; with - before it from the highest down."
                f"{did_you_mean(self.sort, SORTS)}"
            )
        if not 1 <= self.columns <= MOST_COLUMNS:
            raise ConfigError(f"--columns {self.columns}: must be between 1 and {MOST_COLUMNS}.")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit}: must be at least 1.")


@dataclass(frozen=True)
class Sheet:
    """What was written.

    Attributes:
        files: one, or a numbered one for each page.
        images: shown.
        of: there are.
        missing: those whose original was not there as it was.
    """

    files: list[Path]
    images: int
    of: int
    missing: Sequence[str] = ()


def write_sheet(
    runs: Sequence[str | Path], path: str | Path, options: SheetOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sheet:  # fmt: skip
    """Write the comparison figure of a run, or of the same images of several runs.

    Pages of a PDF are in one file; pages of a picture, where there are several, in ``NAME-1.png``, ``NAME-2.png``, …

    Args:
        runs: run folders; the images are those of the first.
        path: the file; its name decides the format.
        options: rows, columns, order.
        progress: called with images drawn, and all of them.

    Raises:
        ConfigError: no known format, or PDF without matplotlib; options that are not allowed.
        SourceError: no finished run, or no image that was explained.
        OutputError: the file cannot be written.
    """
    kind, options = page_format(path), options or SheetOptions()
    opened = [RunOfSheet.open(run, several=len(runs) > 1) for run in runs]
    chosen, of = _choose(opened[0], options)
    plan = Plan.of(opened, chosen, options.rows, options.columns)
    pages = plan.pages(chosen, progress)
    if kind == "PDF":
        write_named_file("--sheet", path, [encode_pdf(pages)])
        files = [Path(path)]
    else:
        files = _write_pictures(Path(path), kind, pages)
    return Sheet(files, len(chosen), of, plan.missing)


def _write_pictures(path: Path, kind: str, pages: Iterator[Page]) -> list[Path]:
    """One page as the file itself; several with numbers."""
    first, second = next(pages), next(pages, None)
    if second is None:
        write_named_file("--sheet", path, [encode_page(first, kind)])
        return [path]
    files = []
    for number, page in enumerate(_chain(first, second, pages), 1):
        files.append(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        write_named_file("--sheet", files[-1], [encode_page(page, kind)])
    return files


def _chain(first: Page, second: Page, others: Iterator[Page]) -> Iterator[Page]:
    yield first
    yield second
    yield from others


def _choose(run: RunOfSheet, options: SheetOptions) -> tuple[list[ExplainedRow], int]:
    """The rows to show, in their order, and how many there are."""
    limit = options.limit or LIMIT
    if options.sort is None:
        rows = run.rows()
        chosen = list(islice(rows, limit))
        of = len(chosen) + sum(1 for _ in rows)
    else:
        name, is_reversed = options.sort.removeprefix("-"), options.sort.startswith("-")
        values = [(_value(row, name), number) for number, row in enumerate(run.rows())]
        present = sorted([one for one in values if one[0] is not None], key=lambda one: one[0], reverse=is_reversed)  # type: ignore[arg-type,return-value]
        order = [number for _, number in [*present, *(one for one in values if one[0] is None)]][:limit]
        places = {number: place for place, number in enumerate(order)}
        found = {places[number]: row for number, row in enumerate(run.rows()) if number in places}
        chosen, of = [found[place] for place in sorted(found)], len(values)
    if not chosen:
        raise SourceError(f"{run.folder}: no image of this run was explained, so there is nothing to show.")
    return chosen, of


def _value(row: ExplainedRow, name: str) -> str | float | None:
    if name == "name":
        return row["image"]
    if name == "probability":
        return row["predictions"][0]["probability"] if row["predictions"] else None
    attention = row["maps"][0]["attention"] if row["maps"] else None
    return None if attention is None else attention["entropy" if name == "entropy" else "border"]
