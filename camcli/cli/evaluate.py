"""``cam eval``: how faithful maps are, in figures with intervals, beside model-independent baselines."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.cli.run import with_positional
from camcli.config.settings import RunConfig
from camcli.errors import printable

if TYPE_CHECKING:
    from camcli.evaluation import Evaluation
    from camcli.pipeline.setup import Setup

HELP = "Measure how faithful methods are on your images: figures with intervals, beside model-independent baselines."
EXAMPLES = """Examples:

cam eval photos --method gradcam,layercam,eigencam --steps 16

cam eval photos -m resnet50 --recommend -o out

cam eval objects.csv --method gradcam --metrics pointing,energy,maxboxacc --plot eval.png --csv eval.csv

Exit codes: 0 done, 2 wrong usage, 3 some images could not be explained and are left out."""
_FILES = ("eval.json", "eval.csv", "eval.png")
_EVERY = 5.0
"""Seconds between progress lines."""


@takes_settings(("images", "model", "explain", "device"), without=("compile", "budget"), also=("seed",))
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    images: list[str] | None = typer.Argument(None, metavar="IMAGES", help="The same as --image-path."),
    metrics: list[str] | None = typer.Option(
        None,
        metavar="NAME[,…]",
        help="Figures to compute: ins-del, insertion, deletion, road, drop, increase, gain, win, adcc (faithfulness); "
        "gridpg, pointing, energy, maxboxacc (localisation); sparsity, entropy (complexity); or all. (default: all but "
        "road, which takes long)",
    ),
    steps: int = typer.Option(32, metavar="N", help="Steps of the deletion and insertion curves."),
    substrate: str | None = typer.Option(
        None,
        metavar="NAME",
        help="What stands in place of pixels in both curves: blur (the image under a wide Gaussian), mean (its mean "
        "colour), noise (normal, seeded), zero (the mean colour of the training images). (default: blur for insertion, "
        "zero for deletion)",
    ),
    reference: str | None = typer.Option(
        None,
        metavar="METHOD",
        help="Method that all others are compared with, image by image. (default: gradcam where it is among the "
        "methods, else the first)",
    ),
    baselines: bool = typer.Option(True, help="Add model-independent baselines as rows of the table."),
    grid: int = typer.Option(2, metavar="N", help="Make GridPG mosaics of N×N images."),
    grid_probability: float = typer.Option(0.9, metavar="P", help="Least top probability of an image in a mosaic."),
    recommend: bool = typer.Option(False, "--recommend", help="Name the method and layer with the best figures."),
    csv: str | None = typer.Option(None, metavar="FILE", help="Write the figures as a flat table."),
    plot: str | None = typer.Option(
        None, metavar="FILE", help="Draw the figures as a bar plot: .png, .jpg, .webp, .pdf or .svg (needs matplotlib)."
    ),
    output_dir: str | None = typer.Option(
        None,
        "--output-dir",
        "-o",
        metavar="DIR",
        help="Write eval.json, eval.csv and, where matplotlib is installed, eval.png into this folder.",
    ),
) -> None:
    settings = {**settings, "output_dir": output_dir, "save": "none", "csv": None, "parquet": None}
    config = RunConfig(**with_positional(settings, images))
    from camcli.cli.evaluation_table import print_evaluation
    from camcli.cli.printer import failure_line
    from camcli.config.recommended import FILE
    from camcli.evaluation import EvalOptions, evaluate
    from camcli.evaluation.plot import can_plot, check_plot, write_plot
    from camcli.output import check_named_file, folder_on_disk, write_named_file

    if plot is not None:
        check_plot(plot)
    folder = None if output_dir is None else folder_on_disk(output_dir, "`cam eval`")
    files = [("--csv", csv), ("--plot", plot), *(("--output-dir", folder / name) for name in _FILES if folder)]
    for option, file in files:
        if file is not None:
            check_named_file(option, file)
    keys = [key.strip() for text in metrics or () for key in text.split(",") if key.strip()]
    options = EvalOptions(tuple(keys), steps, baselines, grid, grid_probability, recommend, substrate, reference)
    evaluation = evaluate(config, options, _Progress(mode))
    document = json.dumps(evaluation.as_json(), allow_nan=False)
    if mode.json:
        print(document)
    else:
        print_evaluation(evaluation, quiet=mode.quiet)
    if evaluation.failed and (mode.quiet or mode.json):
        first = evaluation.failed[0]
        why = f"{first['image']}: {first['message']} ({first['kind']})"
        count = len(evaluation.failed)
        print(failure_line(count, count + len(evaluation.images), why, "; left out"), file=sys.stderr, flush=True)
    # Printed first: a full disk must not lose the figures.
    if csv is not None:
        write_named_file("--csv", csv, [_table(evaluation)])
    if plot is not None:
        write_plot(evaluation, Path(plot))
    if folder is not None:
        write_named_file("--output-dir", folder / FILE, [document.encode() + b"\n"])
        write_named_file("--output-dir", folder / "eval.csv", [_table(evaluation)])
        if can_plot():
            write_plot(evaluation, folder / "eval.png", "--output-dir")
        elif not mode.quiet:
            print("eval.png is left out: it needs matplotlib (pip install matplotlib)", file=sys.stderr)
        if evaluation.recommended is not None and not mode.quiet:
            flags = f"--method best --layer best --output-dir {printable(str(folder))}"
            print(f"`cam run` uses the recommendation with {flags}", file=sys.stderr)
    raise typer.Exit(evaluation.exit_code)


def _table(evaluation: Evaluation) -> bytes:
    return evaluation.as_csv().encode("utf-8", "replace")


class _Progress:
    """Prints the setup and the progress on stderr."""

    def __init__(self, mode: OutputMode) -> None:
        self.mode, self.last = mode, time.monotonic()

    def __call__(self, setup: Setup, done: int, doing: str) -> None:
        if self.mode.quiet:
            return
        if not doing:
            from camcli.cli.cost import cost_lines
            from camcli.cli.setup_lines import describe_setup

            images = setup.sources.count() if setup.sources.is_cheap_to_count else None
            lines = [*describe_setup(setup, passes=self.mode.verbose), *cost_lines(setup, images)]
            print(*lines, sep="\n", file=sys.stderr, flush=True)
        elif time.monotonic() - self.last > _EVERY:
            self.last = time.monotonic()
            print(f"{done} images done; {doing}", file=sys.stderr, flush=True)
