"""``cam run``: explain images."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.cli.sheet import check_sheet, describe_sheet, name_missing
from camcli.concurrency import Stop
from camcli.config.parse import flag
from camcli.config.settings import RunConfig
from camcli.config.suggest import find_setting
from camcli.engines.child import Waiting
from camcli.errors import CamError, ConfigError, printable

if TYPE_CHECKING:
    from camcli.pipeline.stream import Summary

HELP = "Explain images: heatmaps, overlays and an index with predictions and map statistics."
EXAMPLES = """Examples:

cam run --image-path photos --method gradcam

cam run photos -m resnet50 --device 0 --method gradcam,layercam --target top:2

cam run data/val -m timm:vit_small_patch16_224 --save overlay,raw -o out

The same command again continues a run that was interrupted. Exit codes: 0 all images explained, 1 the run could not \
go on, 2 wrong usage, 3 some images could not be explained, 130 or 143 interrupted."""

_STOPPING = b"stopping after the images in flight; the same command continues. Again to stop at once."
_NOT_STARTED = b"stopped before the first image."
_ASSIGNMENT = re.compile(r"([A-Za-z][\w-]*)=(.*)")


@takes_settings(("images", "model", "explain", "device", "output", "run"))
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    images: list[str] | None = typer.Argument(None, metavar="IMAGES", help="The same as --image-path."),
    sheet: str | None = typer.Option(
        None,
        metavar="FILE",
        help="Write the first images with their maps as one figure, too (.png, .jpg, .webp, .pdf); see `cam report`.",
        rich_help_panel="Output",
    ),
) -> None:
    config = RunConfig(**with_positional(settings, images))
    if sheet:
        check_sheet(sheet)
        from camcli.output import folder_on_disk

        folder_on_disk(config.run_dir, "--sheet")
    with stopping() as stop, Waiting() as waiting:
        if not config.dry_run and config.engine == "local" and (config.parsed.processes or 1) > 1:
            waiting.fill(config.parsed.processes or 1)  # they import while this process does
        from camcli.api.run import run
        from camcli.cli.plan import print_plan
        from camcli.cli.printer import Printer

        if config.dry_run:
            print_plan(config, mode)
            return
        with Printer(mode) as printer:
            summary = run(config, command=["cam", *sys.argv[1:]], stop=stop, watch=printer, waiting=waiting)
    if mode.json:
        print(json.dumps(summary_document(summary)), flush=True)
        printer.failures(summary)
    else:
        printer.summary(summary)
    if sheet and summary.unmerged:
        later = f"`cam report {shlex.quote(str(summary.run_dir))} --sheet {shlex.quote(sheet)}`"
        print(printable(f"note: no sheet of a shard: after `cam merge`, {later} writes it"), file=sys.stderr)
    elif sheet and summary.counts["ok"]:
        from camcli.report.sheet import write_sheet

        written = write_sheet([summary.run_dir], sheet)
        name_missing(written)
        said = describe_sheet(written)
        if not mode.quiet:
            print(said, file=sys.stderr if mode.json else sys.stdout)
    raise typer.Exit(summary.exit_code)


def with_positional(settings: dict[str, Any], images: list[str] | None) -> dict[str, Any]:
    """The settings with images that are given as arguments after those of ``--image-path``.

    Raises:
        ConfigError: an argument is ``NAME=VALUE``, as other tools write settings, and no such file exists.
    """
    for image in images or ():
        assignment = _ASSIGNMENT.fullmatch(image)
        name = find_setting(assignment[1]) if assignment and not Path(image).exists() else None
        if assignment and name:
            raise ConfigError(f"{image}: no such image. Did you mean {flag(name)} {assignment[2]}?")
    return {**settings, "image_path": [*settings.get("image_path", []), *images]} if images else settings


def summary_document(summary: Summary) -> dict[str, Any]:
    """What ``--json`` prints: how the run ended and where its index is."""
    return {
        "status": summary.status,
        "exit_code": summary.exit_code,
        "output_dir": str(summary.run_dir),
        "index": None if summary.unmerged else str(summary.run_dir / "index.json"),
        "counts": summary.counts,
        "explained_now": summary.explained,
        "timing": summary.timing,
    }


@contextmanager
def stopping() -> Iterator[Stop]:
    """Let the run finish the images in flight at SIGINT and SIGTERM; end the process at once at a second signal.

    If finishing fails (the disk is full), the exit code is still that of the signal.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.request(number)
        with suppress(OSError):  # stderr may be closed
            os.write(2, b"\ncam: " + (_STOPPING if stop.flowing else _NOT_STARTED) + b"\n")
        if not stop.flowing:
            raise SystemExit(128 + number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except CamError as error:
        if stop.signal is not None and error.exit_code == CamError.exit_code:
            error.exit_code = 128 + stop.signal
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
