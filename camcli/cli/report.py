"""``cam report``: an HTML gallery of a run."""

from __future__ import annotations

import sys
import time
import webbrowser
from typing import Any

import typer
from tqdm import tqdm

from camcli.cli.options import OutputMode, takes_settings
from camcli.errors import ConfigError, printable

HELP = "Show a run as an HTML gallery that opens from disk: find images, compare maps, see what stands out."
EXAMPLES = """Examples:

cam report cam-output --open

cam report runs/after --against runs/before

cam report cam-output --self-contained --limit 200 --output gallery.html

Open RUN/report.html in a browser; it needs neither a server nor the network. Results of `cam check` and `cam diff` \
are shown when they were made before. Exit codes: 0 written, 1 a file could not be written, 2 wrong usage."""
_LINE_INTERVAL = 5.0
_LARGE = 50 << 20
"""Bytes of a page in one file that browsers and mail take badly."""


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
    limit: int | None = typer.Option(None, metavar="N", help="The first N images only."),
    open_: bool = typer.Option(False, "--open", help="Open the page in the browser."),
) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: must be at least 1.")
    from camcli.output import check_named_file
    from camcli.report import ReportOptions, build_report
    from camcli.report.build import as_json

    options = ReportOptions(run, against, output, self_contained, limit)
    if output:
        check_named_file("--output", output)
    with _Progress(mode) as progress:
        gallery = build_report(options, progress)
    if mode.json:
        print(as_json(gallery))
    elif not mode.quiet:
        missing = f", {gallery.missing} without their original" if gallery.missing else ""
        failed = f", {gallery.failed} of them failed" if gallery.failed else ""
        print(printable(f"{gallery.images} images{failed}{missing}"))
        print(printable(f"gallery in {gallery.page}"))
        if gallery.bytes > _LARGE:
            print(f"note: the page has {gallery.bytes >> 20} MB; --limit N makes it smaller", file=sys.stderr)
    if open_ and not webbrowser.open(gallery.page.resolve().as_uri()):
        print(printable(f"note: no browser was found here; open {gallery.page} yourself"), file=sys.stderr)


class _Progress:
    """A bar on a terminal; otherwise a line every few seconds."""

    def __init__(self, mode: OutputMode) -> None:
        self._quiet = mode.quiet
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
                self._bar = tqdm(total=total, unit=" images", desc="thumbnails", leave=False, dynamic_ncols=True)
            self._bar.update()
        elif time.monotonic() - self._last >= _LINE_INTERVAL:
            self._last = time.monotonic()
            print(f"{done} of {total} images", file=sys.stderr, flush=True)
