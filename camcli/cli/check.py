"""``cam check``: checks of the maps of a finished run, or of images that are explained first."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from camcli.cli.check_report import (
    FAIL_ON_FLAG,
    FORMAT_FLAG,
    JUNIT_FLAG,
    Reporter,
    check_named_files,
    console_for_people,
)
from camcli.cli.options import OutputMode, takes_settings
from camcli.cli.run import stopping, with_positional
from camcli.config.parse import flag
from camcli.config.settings import PLACES, RunConfig
from camcli.errors import ConfigError

if TYPE_CHECKING:
    from camcli.checks import RecordedRun, Result
    from camcli.checks.class_maps import ClassMaps
    from camcli.checks.recorded import MethodLayer

HELP = "Check the maps of a run against thresholds; ends with exit code 1 when a check fails."
EXAMPLES = """Examples:

cam check cam-output

cam check cam-output --suite configs/checks.toml --baseline attention.baseline --junit attention.xml

cam check photos -m resnet50 -o out --set border.median_max=1.5 --sheet worst.jpg

A finished run is checked without its images and model, except by the checks that change images or weights (stable, \
random, layout, faithful), and by shortcut, which reads the images, and opens the model where it finds something. \
Exit codes: 0 all checks passed, 1 a check failed, 2 wrong usage, 3 passed, but the run could not explain some \
images."""

_WITH_RUN = ("device", "use_cuda")


@takes_settings(("images", "model", "explain", "device", "output", "run"), without=PLACES, panel="Checks")
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    run: list[str] | None = typer.Argument(
        None, metavar="RUN|IMAGES", help="A run folder, or images to explain first."
    ),
    suite: str | None = typer.Option(
        None, metavar="FILE.toml", help="Checks and thresholds, instead of the default ones."
    ),
    set_: list[str] | None = typer.Option(None, "--set", metavar="CHECK.KEY=VALUE", help="One threshold; repeatable."),
    baseline: str | None = typer.Option(None, metavar="FILE", help="Compare the maps with this baseline (drift)."),
    write_baseline: str | None = typer.Option(None, metavar="FILE", help="Write this run as a baseline."),
    rebase: bool = typer.Option(False, "--rebase", help="Replace the file of --baseline by this run."),
    calibrate: str | None = typer.Option(
        None, metavar="FILE.toml", help="Write thresholds proposed from this run, which is known to be good."
    ),
    sheet: str | None = typer.Option(
        None,
        metavar="FILE.jpg",
        help="Write the worst images as one picture, and FILE-classes.jpg with the mean map and the hottest crops of "
        "each class.",
    ),
    require: list[str] | None = typer.Option(
        None,
        metavar="CHECK[,CHECK]",
        help="Checks that must be decided: where one is inconclusive or skipped, it counts as failed; repeatable.",
    ),
    junit: str | None = JUNIT_FLAG,
    format: str = FORMAT_FLAG,  # noqa: A002
    fail_on: str = FAIL_ON_FLAG,
) -> None:
    reporter = Reporter(mode, format, fail_on, junit, "camcli.check/1")
    if rebase and not baseline:
        raise ConfigError("--rebase: name the baseline to renew with --baseline FILE.")
    from camcli.checks import choose_maps, load_suite, read_baseline, read_run, run_checks
    from camcli.checks.baseline import computed_with
    from camcli.checks.calibrate import calibrate_suite
    from camcli.checks.report.run_document import CHECK_NAME, leave_in_run
    from camcli.output import write_named_file
    from camcli.render.pages import page_format

    chosen = load_suite(suite, set_ or (), require or ())
    if sheet:
        page_format(sheet)
    compared = read_baseline(baseline) if baseline and not rebase else None
    check_named_files(
        {"--junit": junit, "--sheet": sheet, "--calibrate": calibrate, "--write-baseline": write_baseline,
         "--baseline": baseline if rebase else None}
    )  # fmt: skip
    folder, code = _folder(settings, run or [], mode)
    recorded = read_run(folder)
    if code is None:
        code = 3 if recorded.failed else 0
    key = choose_maps(recorded, chosen)
    if compared is not None:
        compared.refuse_other(recorded, key)
    device = "cuda" if settings.get("use_cuda") else settings.get("device")
    results = run_checks(recorded, chosen, compared, device)
    classes: list[ClassMaps] = []
    if sheet:
        _sheet(sheet, recorded, key, results)
        classes = _class_sheet(_beside(sheet), recorded, key, device)
    if calibrate:
        write_named_file("--calibrate", calibrate, [calibrate_suite(results, chosen, folder).encode()])
    renewed = {"--write-baseline": write_baseline, "--baseline": baseline if rebase else None}
    notes = [_write_baseline(option, name, recorded, key) for option, name in renewed.items() if name]
    notes += [f"thresholds proposed in {calibrate}"] if calibrate else []
    notes += (
        [f"worst images in {sheet}; mean maps and hottest crops of the classes in {_beside(sheet)}"] if sheet else []
    )
    more: dict[str, Any] = {"run": folder, "method": key[0], "layer": key[1], **computed_with(recorded)}
    more |= {"classes": [one.as_json() for one in classes]} if sheet else {}
    print_text = partial(_print_text, recorded, key, results, [*map(_describe_class, classes), *notes], chosen.common)
    leave = partial(leave_in_run, recorded, CHECK_NAME)
    raise typer.Exit(reporter.report(results, folder, code, print_text, leave, **more))


def _folder(settings: dict[str, Any], paths: list[str], mode: OutputMode) -> tuple[str, int | None]:
    """The run folder that is checked, and the exit code of the run if it is made now."""
    from camcli.output import is_run_folder

    if len(paths) == 1 and is_run_folder(paths[0]):
        extra = [flag(name) for name in settings if name not in _WITH_RUN]
        if extra:
            raise ConfigError(
                f"{paths[0]} is a finished run; {', '.join(extra)} cannot apply to it. Leave them out, or name images."
            )
        return paths[0], None
    config = RunConfig(**with_positional(settings, paths))
    if not config.image_path:
        raise ConfigError("nothing to check: name a run folder, or images to explain first.")
    from camcli.api.run import run
    from camcli.cli.printer import Printer
    from camcli.output import folder_on_disk

    folder_on_disk(config.run_dir, "`cam check`")
    # With --json the run prints to stderr: stdout is for the checks.
    with Printer(replace(mode, json=True)) as printer, stopping() as stop:
        summary = run(config, command=["cam", *sys.argv[1:]], stop=stop, watch=printer)
        printer.summary(summary)
    if summary.status != "complete":
        raise typer.Exit(summary.exit_code)
    return str(summary.run_dir), summary.exit_code


def _sheet(path: str, recorded: RecordedRun, key: MethodLayer, results: list[Result]) -> None:
    from camcli.checks import CHECKS
    from camcli.checks.report.contact_sheet import SheetRow, overlays, write_sheet
    from camcli.checks.report.shortcut_sheet import shortcut_rows
    from camcli.checks.result import SEVERITY

    shown = sorted((r for r in results if r.worst), key=lambda result: SEVERITY.index(result.status))
    shown_images = {(one.image, one.source) for result in shown for one in result.worst}
    pictures = overlays(
        recorded, key, [record for record in recorded.images if (record.image, record.source) in shown_images]
    )
    rows = [
        SheetRow(
            f"{result.check}: {result.status} - {CHECKS[result.check].question}",
            [
                ([pictures[w.image, w.source]], f"{w.image}\n{w.words}")
                for w in result.worst
                if (w.image, w.source) in pictures
            ],
        )
        for result in shown
    ]
    rows[:0] = [row for result in results for row in shortcut_rows(recorded, key, result)]
    write_sheet(path, rows)


def _beside(path: str) -> str:
    """``worst-classes.jpg`` for ``worst.jpg``."""
    return str(Path(path).with_stem(f"{Path(path).stem}-classes"))


def _class_sheet(path: str, recorded: RecordedRun, key: MethodLayer, device: str | None) -> list[ClassMaps]:
    from camcli.checks.class_maps import cover_classes, maps_by_class
    from camcli.checks.report.class_sheet import class_rows
    from camcli.checks.report.contact_sheet import write_sheet

    classes = cover_classes(recorded, key, maps_by_class(recorded, key), device)
    write_sheet(path, class_rows(recorded, key, classes))
    return classes


def _describe_class(one: ClassMaps) -> str:
    effect = one.covering.words if one.covering is not None else f"covering was not tried: {one.problem}"
    return f"{one.name} ({one.n} images): {effect}"


def _write_baseline(option: str, name: str, recorded: RecordedRun, key: MethodLayer) -> str:
    from camcli.checks import write_baseline

    size = write_baseline(name, recorded, key, option)
    return f"baseline of {len(recorded.images)} images written: {name} ({size:,} bytes)"


def _print_text(
    recorded: RecordedRun, key: MethodLayer, results: list[Result], notes: list[str], common: Mapping[str, Any]
) -> None:
    from camcli.checks import CHECKS
    from camcli.checks.baseline import computed_with, describe_precision
    from camcli.checks.report.text import coverage, table

    console = console_for_people()
    at = f" at {key[1]}" if key[1] else ""
    unfinished = "" if recorded.header["status"] == "complete" else f" (the run was {recorded.header['status']})"
    failed = f", {recorded.failed} could not be explained" if recorded.failed else ""
    how = f"; {describe_precision(precision)}" if (precision := computed_with(recorded))["precision"] else ""
    what = f"{recorded.header['model']['name']}, {key[0]}{at}, {len(recorded.images)} images{failed}{unfinished}{how}"
    console.print(f"{recorded.path}: {what}", markup=False, soft_wrap=True)
    console.print(f"in brackets: {100 * common['confidence']:g} % intervals over images\n", style="dim", markup=False)
    coverage(results, len(recorded.images), common["min_images"], console)
    table(results, dict(CHECKS), console)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
