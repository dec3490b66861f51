"""``cam run``: explain images."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import Talk, takes_settings
from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.errors import CamError

if TYPE_CHECKING:
    from camcli.pipeline.stream import Summary

HELP = "Explain images: heatmaps, overlays and an index of where the model looked."
EXAMPLES = """Examples:

cam run --image-path photos --method gradcam

cam run photos --model resnet50 --use-cuda --method gradcam,layercam --target top:2

cam run data/val --model timm:vit_small_patch16_224 --save overlay,raw --output-dir out

The same command again continues a run that was interrupted. Exit codes: 0 all explained, 1 could not go on,
2 wrong usage, 3 some images could not be explained, 130/143 interrupted."""

_STOPPING = b"stopping after the images in flight; the same command continues. Again to stop at once."
_NOT_BEGUN = b"stopped before the first image."


@takes_settings(("images", "model", "explain", "device", "output", "run"))
def command(
    settings: dict[str, Any],
    talk: Talk,
    images: list[str] | None = typer.Argument(None, metavar="[IMAGES]...", help="The same as --image-path."),
) -> None:
    config = RunConfig(**with_positional(settings, images))
    with stopping() as stop:
        from camcli.cli.printer import Printer, print_plan
        from camcli.pipeline.stream import run

        if config.dry_run:
            print_plan(config, talk)
            return
        with Printer(talk) as printer:
            summary = run(config, command=["cam", *sys.argv[1:]], stop=stop, watch=printer)
    if talk.json:
        print(json.dumps(summary_document(summary)), flush=True)
    else:
        printer.summary(summary)
    raise typer.Exit(summary.exit_code)


def with_positional(settings: dict[str, Any], images: list[str] | None) -> dict[str, Any]:
    """Images given as arguments come after those of ``--image-path``."""
    return {**settings, "image_path": [*settings.get("image_path", []), *images]} if images else settings


def summary_document(summary: Summary) -> dict[str, Any]:
    """What ``--json`` prints: how the run ended and where its index is."""
    return {
        "status": summary.status,
        "exit_code": summary.exit_code,
        "output_dir": str(summary.run_dir),
        "index": str(summary.run_dir / "index.json"),
        "counts": summary.counts,
        "explained_now": summary.explained,
        "timing": summary.timing,
    }


@contextmanager
def stopping() -> Iterator[Stop]:
    """SIGINT and SIGTERM let the run finish what is in flight; a second one ends the process at once.

    Where finishing fails (the disk is full, say), the exit code is still that of the signal.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.request(number)
        with suppress(OSError):  # nobody may be there to read it
            os.write(2, b"\ncam: " + (_STOPPING if stop.flowing else _NOT_BEGUN) + b"\n")
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
