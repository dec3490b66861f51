"""``cam render``: draw the pictures of a finished run again."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.errors import printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from camcli.redraw import KeptPictures, RedrawResult

HELP = "Draw the pictures of a finished run again with other colours, without its model."
EXAMPLES = """Examples:

cam render cam-output --colormap inferno --alpha 0.4

cam render cam-output --signed --save overlay,panel

cam render cam-output --scale sample:100 --max-side 512 --image-format webp

What is not given stays as the run had it; `cam run` with the same settings then has nothing left to do. Exit codes: \
0 all images drawn, 1 the run folder cannot be written, 2 wrong usage, 3 some originals are gone or changed, and their \
pictures stay (the settings of the run, too, where all are)."""
_EVERY = 5.0
"""Seconds between progress lines."""
_MOST_NAMED = 20


@takes_settings(
    (),
    also=(
        "save", "colormap", "alpha", "gamma", "signed", "canvas", "scale", "max_side", "image_format", "quality",
        "workers",
    ),
    without_defaults=True,
)  # fmt: skip
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    run: str = typer.Argument(..., metavar="RUN", help="The folder of a finished run."),
) -> None:
    from camcli.redraw import redraw

    printer = _printer(mode)
    try:
        done = redraw(run, settings, watch=printer)
    except KeyboardInterrupt:
        print("cam: stopped; repeat the same command to make the pictures of this run whole", file=sys.stderr)
        raise
    finally:
        printer.close()
    if mode.json:
        print(json.dumps(_document(done)), flush=True)
    elif not mode.quiet:
        print(
            f"{done.drawn} image{'s' * (done.drawn != 1)} drawn again in {done.run_dir}: "
            f"{', '.join(done.save) or 'no pictures'}"
        )
    if done.kept:
        are_named = not mode.quiet and len(done.kept) <= _MOST_NAMED
        print(printable(f"cam: {_of_kept(done, are_named)}"), file=sys.stderr)
    raise typer.Exit(done.exit_code)


def _of_kept(done: RedrawResult, are_named: bool) -> str:
    """How many images keep their pictures, what that means for the run, and what to do."""
    first, some = done.kept[0], len(done.kept)
    which = "" if are_named else f"; the first: {first.image}: {first.message}"
    kept = f"{some} of {done.images} images keep{'s' * (some == 1)} {'its' if some == 1 else 'their'} pictures{which}."
    means = (
        "A `cam run` with the new settings explains them again"
        if done.is_recorded
        else "No image could be drawn, and the run keeps its settings"
    )
    if any(one.kind in ("missing", "changed") for one in done.kept):
        return f"{kept} {means}. To draw them, put the originals back and repeat this command."
    return f"{kept} {means}."


def _document(done: RedrawResult) -> dict[str, Any]:
    return {
        "status": "complete",
        "exit_code": done.exit_code,
        "output_dir": str(done.run_dir),
        "index": str(done.run_dir / "index.json"),
        "settings_recorded": done.is_recorded,
        "counts": {"images": done.images, "drawn": done.drawn, "kept": len(done.kept), "failed": done.failed},
        "scale_limits": {method: list(limits) for method, limits in done.limits.items()} or None,
        "kept": [
            {"image": one.image, "source": one.source, "kind": one.kind, "message": one.message} for one in done.kept
        ],
    }


def _printer(mode: OutputMode) -> Any:
    from tqdm import tqdm

    from camcli.pipeline.pictures import limit_lines
    from camcli.redraw import Watcher

    class Printer(Watcher):
        def __init__(self) -> None:
            self.bar: tqdm[Any] | None = None
            self.total = self.done = self.named = 0
            self.last = time.monotonic()

        def ready(self, result: RedrawResult) -> None:
            self.total = result.images
            if mode.quiet:
                return
            for line in limit_lines(result.limits):
                print(line, file=sys.stderr if mode.json else sys.stdout)
            for note in result.notes:
                print(f"note     {note}", file=sys.stderr)
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.total, unit=" images", desc="drawing", leave=False, dynamic_ncols=True)

        def image(self, kept: KeptPictures | None) -> None:
            self.done += 1
            if mode.quiet:
                return
            if kept is not None and self.named < _MOST_NAMED:
                self.named += 1
                line = printable(f"kept     {kept.image}: {kept.message} ({kept.kind})")
                print(line, file=sys.stderr) if self.bar is None else self.bar.write(line, file=sys.stderr)
            if self.bar is not None:
                self.bar.update()
            elif time.monotonic() - self.last > _EVERY:
                self.last = time.monotonic()
                print(f"{self.done} of {self.total} images", file=sys.stderr, flush=True)

        def close(self) -> None:
            if self.bar is not None:
                self.bar.close()

    return Printer()
