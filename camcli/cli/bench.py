"""``cam bench``: where the time goes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.cli.run import with_positional
from camcli.concurrency import cores
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

if TYPE_CHECKING:
    from camcli.bench import Bench

_BATCHES = 4
"""With fewer, loading the first batch and writing the last are a large part of a run."""
_FEW = "so few images do not represent a long run; use {} or more"

HELP = "Measure where the time goes on this machine: a run end to end, against the forward pass of its model alone."
EXAMPLES = """Examples:

cam bench

cam bench --model resnet50 --weights random --precision bf16

cam bench photos --model timm:vit_base_patch16_224 --use-cuda --method gradcam,layercam --json

Without images, some of 500×375 pixels are made. The ceiling is the fastest eager forward pass (channels-last memory, \
batch norms folded) in the precision of the run; with --compile the compiled one, if it is faster. Run nothing else on \
the machine meanwhile."""


@takes_settings(("images", "model", "explain", "device", "output"), without=("output_dir", "csv", "parquet", "budget"))
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    images: list[str] | None = typer.Argument(None, metavar="IMAGES", help="The same as --image-path."),
    seconds: float = typer.Option(10.0, metavar="S", help="About how long the measured run takes."),
) -> None:
    if not seconds >= 0:
        raise ConfigError(f"--seconds {seconds}: must be at least 0.")
    config = RunConfig(**with_positional(settings, images))
    from camcli.bench import bench

    def print_progress(line: str) -> None:
        if not mode.quiet:
            print(line, file=sys.stderr, flush=True)

    result = bench(config, seconds=seconds, say=print_progress)
    print(json.dumps(result.as_json()) if mode.json else "\n".join(lines_of(result)))


def lines_of(result: Bench) -> list[str]:
    """What is printed for people."""
    end, ceiling = result.end_to_end, result.ceiling
    enough = _BATCHES * ceiling.batch_size
    lines = [
        f"model    {result.model}, {', '.join(result.methods)}",
        f"device   {result.device}, {result.precision}",
        "",
        f"{'forward pass alone':<20}{'precision':<11}{'batch':>5}{'images/s':>11}",
    ]
    for f in result.forward:
        rate = f"{f.images_per_second:11.1f}" if f.images_per_second else f"  {f.reason}"
        mark = "  ceiling" if f == ceiling else ""
        lines.append(f"{f.setting:<20}{f.precision:<11}{f.batch_size:>5}{rate}{mark}")
    lines += [
        "",
        f"end to end: {end.images_per_second:.1f} images/s, {100 * end.share:.0f} % of the ceiling "
        f"({end.images} images in {end.seconds:.1f} s, after {end.preparing:.1f} s of preparation)",
        *([_FEW.format(enough)] if end.images < enough else []),
        "busy seconds: " + ", ".join(f"{stage} {spent:.2f}" for stage, spent in end.stages.items()),
        "busy share: " + ", ".join(f"{part} {100 * share:.0f} %" for part, share in end.busy.items())
        + f"; the bottleneck is {end.bottleneck}",
        f"busy cores: {end.cores:.1f} of {cores()}",
        "",
        "recommended: " + " ".join(f"{name} {value}" for name, value in result.recommended.items()),
    ]  # fmt: skip
    return lines
