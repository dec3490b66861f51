"""``cam report``: an HTML gallery of a run."""

from __future__ import annotations

import json
import os
import sys
import time
import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from tqdm import tqdm

from camcli.cli.options import OutputMode, takes_settings
from camcli.cli.sheet import check_sheet, describe_sheet, name_missing
from camcli.errors import ConfigError, printable

if TYPE_CHECKING:
    from camcli.report.sheet import SheetOptions

HELP = (
    "Show a run as an HTML gallery that opens from disk: find images, compare maps, see what stands out. Or as a "
    "figure: images across, maps down."
)
EXAMPLES = """Examples:

cam report cam-output --open

cam report runs/after --against runs/before

cam report cam-output --self-contained --limit 200 --output gallery.html

cam report cam-output --sheet figure.png --columns 5 --rows method --limit 10

Open RUN/report.html in a browser; it needs neither a server nor the network. Results of `cam check` and `cam diff` \
are shown when they were made before. Exit codes: 0 written, 1 a file could not be written, 2 wrong usage."""
_LINE_INTERVAL = 5.0
_LARGE = 50 << 20
"""Bytes of a page in one file that browsers and mail take badly."""
_FIGURE = "Figure"


@takes_settings((), panel="Gallery")
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    run: str = typer.Argument(..., metavar="RUN", help="A run folder."),
    against: str | None = typer.Option(
        None, metavar="RUN2", help="Compare with this earlier run of the same images, largest change first."
    ),
    output: str | None = typer.Option(
        None, metavar="FILE.html", help="The page; its data lie beside it (default: RUN/report.html)."
    ),
    self_contained: bool = typer.Option(False, "--self-contained", help="Put everything into one file, to be sent."),
    limit: int | None = typer.Option(
        None, metavar="N", help="The first N images only. (default of --sheet: 48, of the gallery: all)"
    ),
    open_: bool = typer.Option(False, "--open", help="Open the page in the browser."),
    sheet: str | None = typer.Option(
        None,
        metavar="FILE",
        help="Write a figure instead of the gallery (.png, .jpg, .webp, or .pdf with its text as text): images across, "
        "maps down, a colour bar. Several pages of a picture are numbered files.",
        rich_help_panel=_FIGURE,
    ),
    columns: int | None = typer.Option(
        None, metavar="N", help="Pictures across a page of the figure. (default: 6)", rich_help_panel=_FIGURE
    ),
    rows: str | None = typer.Option(
        None,
        metavar="KIND[,…]",
        help="What goes down: method, layer, target; with image, every image is beside its maps. (default: what the "
        "run has several of)",
        rich_help_panel=_FIGURE,
    ),
    sort: str | None = typer.Option(
        None,
        metavar="KEY",
        help="Order of the images of the figure: name, probability, entropy, border; with - before it "
        "(--sort=-entropy) from the highest down. (default: that of the run)",
        rich_help_panel=_FIGURE,
    ),
) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: must be at least 1.")
    figure = _Figure(sheet, columns, rows, sort, limit)
    figure.check()
    if sheet is not None and not (output or self_contained or open_):
        _print_sheet(figure, run, against, mode)
        return
    from camcli.output import check_named_file
    from camcli.report import ReportOptions, build_report
    from camcli.report.build import as_json

    options = ReportOptions(run, against, output, self_contained, limit)
    if output:
        check_named_file("--output", output)
    with _Progress(mode) as progress:
        gallery = build_report(options, progress)
    if sheet is not None:
        _print_sheet(figure, run, against, OutputMode(mode.quiet or mode.json, mode.verbose, False))
    if mode.json:
        print(as_json(gallery))
    elif not mode.quiet:
        missing = f", {gallery.missing} without their original" if gallery.missing else ""
        failed = f", {gallery.failed} of them failed" if gallery.failed else ""
        print(printable(f"{gallery.images} image{'s' if gallery.images != 1 else ''}{failed}{missing}"))
        beside = f", its data and thumbnails in {gallery.folder}{os.sep}" if gallery.folder else ""
        print(printable(f"gallery in {gallery.page}{beside}"))
        if gallery.bytes > _LARGE:
            print(f"note: the page has {gallery.bytes >> 20} MB; --limit N makes it smaller", file=sys.stderr)
    if open_ and not webbrowser.open(gallery.page.resolve().as_uri()):
        print(printable(f"note: no browser was found here; open {gallery.page} yourself"), file=sys.stderr)


@dataclass(frozen=True)
class _Figure:
    """The flags of ``--sheet``."""

    path: str | None
    columns: int | None
    rows: str | None
    sort: str | None
    limit: int | None

    def check(self) -> None:
        """Refuse flags that are not allowed, or are there without ``--sheet``."""
        if self.path is not None:
            check_sheet(self.path)
            self.options()
            return
        for name in ("columns", "rows", "sort"):
            if getattr(self, name) is not None:
                raise ConfigError(f"--{name} is for the figure: give --sheet FILE as well.")

    def options(self) -> SheetOptions:
        """The same as the sheet takes them."""
        from camcli.report.sheet import COLUMNS, SheetOptions

        rows = tuple(part.strip() for part in (self.rows or "").split(",") if part.strip())
        columns = COLUMNS if self.columns is None else self.columns
        return SheetOptions(columns=columns, rows=rows, sort=self.sort, limit=self.limit)


def _print_sheet(figure: _Figure, run: str, against: str | None, mode: OutputMode) -> None:
    """Write the figure and say where it is."""
    from camcli.report.sheet import write_sheet

    assert figure.path is not None
    runs = [run] if against is None else [run, against]
    with _Progress(mode, "figure") as progress:
        sheet = write_sheet(runs, figure.path, figure.options(), progress)
    name_missing(sheet)
    if mode.json:
        files = [str(file) for file in sheet.files]
        print(json.dumps({"sheet": {"files": files, "images": sheet.images, "of": sheet.of}}))
    elif not mode.quiet:
        print(describe_sheet(sheet))


class _Progress:
    """A bar on a terminal; otherwise a line every few seconds."""

    def __init__(self, mode: OutputMode, doing: str = "thumbnails") -> None:
        self._quiet, self._doing = mode.quiet, doing
        self._bar: tqdm[Any] | None = None
        self._last = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        if self._quiet:
            return
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=total, unit=" images", desc=self._doing, leave=False, dynamic_ncols=True)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last >= _LINE_INTERVAL:
            self._last = time.monotonic()
            print(f"{done} of {total} images", file=sys.stderr, flush=True)
