"""``cam diff``: how the maps of two runs differ."""

from __future__ import annotations

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
from camcli.errors import ConfigError, printable

if TYPE_CHECKING:
    from camcli.checks import Baseline, RecordedRun, Result
    from camcli.checks.diff import Difference
    from camcli.checks.recorded import MethodLayer
    from camcli.checks.rules.drift import MapChange

HELP = "Compare the maps of two runs: distances, largest changes, changed predictions apart, and a pass/fail threshold."
EXAMPLES = """Examples:

cam diff runs/before runs/after

cam diff attention.baseline runs/after --set drift.spearman_median_min=0.9 --junit drift.xml

cam diff runs/before runs/after --sheet moved.jpg

Images are matched by content, else by name. Exit codes: 0 the changes are within the thresholds of drift, 1 they are \
not, 2 wrong usage."""


@takes_settings((), panel="Comparison")
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    base: str = typer.Argument(..., metavar="BASE", help="A run folder or a baseline file."),
    new: str = typer.Argument(..., metavar="NEW", help="A run folder."),
    suite: str | None = typer.Option(
        None, metavar="FILE.toml", help="Thresholds of drift, instead of the default ones."
    ),
    set_: list[str] | None = typer.Option(None, "--set", metavar="drift.KEY=VALUE", help="One threshold; repeatable."),
    sheet: str | None = typer.Option(
        None,
        metavar="FILE.jpg",
        help="Write the images with the largest changes as one picture or PDF: before, after.",
    ),
    junit: str | None = JUNIT_FLAG,
    format: str = FORMAT_FLAG,  # noqa: A002
    fail_on: str = FAIL_ON_FLAG,
) -> None:
    reporter = Reporter(mode, format, fail_on, junit, "camcli.diff/1")
    from camcli.checks import choose_maps, load_suite, read_run
    from camcli.checks.diff import difference, judge_difference
    from camcli.checks.report.run_document import DIFF_NAME, leave_in_run
    from camcli.output import is_run_folder
    from camcli.render.pages import page_format

    chosen = load_suite(suite, [*(set_ or ()), "drift.enabled=true"])
    if sheet:
        page_format(sheet)
    if not is_run_folder(new):
        raise ConfigError(f"{new} is not a finished run. NEW must be a run folder; a baseline comes first.")
    recorded = read_run(new)
    key = choose_maps(recorded, chosen)
    before = _base(base, key)
    check_named_files({"--junit": junit, "--sheet": sheet})
    changes = difference(before, recorded, key)
    results = [judge_difference(recorded, key, chosen, changes.changes)]
    if sheet:
        _sheet(sheet, base, recorded, key, changes)
    more = {"base": base, "new": new, "method": key[0], "layer": key[1], **changes.as_json()}
    leave = partial(leave_in_run, recorded, DIFF_NAME)
    print_text = partial(_print_text, base, new, changes, results)
    raise typer.Exit(reporter.report(results, f"{base} → {new}", 0, print_text, leave, **more))


def _base(path: str, key: MethodLayer) -> Baseline:
    from camcli.checks import baseline_of, read_baseline, read_run
    from camcli.output import is_run_folder

    if not is_run_folder(path):
        if Path(path).is_dir():
            raise ConfigError(f"{path} is not a finished run: it has no index.json.")
        return read_baseline(path)
    run = read_run(path)
    keys = run.keys
    if not keys:
        raise ConfigError(f"{path}: no image of this run was explained, so there is nothing to compare.")
    same_method = [own for own in keys if own[0] == key[0]]
    return baseline_of(run, key if key in keys else (same_method or keys)[0])


def _print_text(base: str, new: str, changes: Difference, results: list[Result]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from camcli.checks import CHECKS
    from camcli.checks.diff import distribution
    from camcli.checks.report.text import table
    from camcli.checks.rules.drift import METRICS

    console = console_for_people()
    console.print(f"{base} → {new}: {len(changes.changes)} images compared", markup=False, soft_wrap=True)
    for count, where in ((changes.only_base, base), (changes.only_new, new)):
        if count:
            console.print(f"  {count} images are only in {where}", markup=False, soft_wrap=True)
    for note in changes.notes:
        console.print(f"  {note}", markup=False, soft_wrap=True)
    rows = Table("images", "n", *METRICS, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for group, members in changes.groups.items():
        spread = distribution(members)
        cells = [" ".join(f"{spread[m][q]:.2f}" for q in ("p05", "median", "p95")) if spread else "–" for m in METRICS]
        rows.add_row(group, str(len(members)), *cells)
    console.print("\nhow far the maps changed, as 5th percentile, median, 95th percentile over images")
    console.print(
        "[dim]spearman: rank correlation, 1 if nothing changed; iou: overlap of the hottest 20 %, 1; "
        "jsd: divergence, 0; centroid: shift of the centre of the heat, 0[/dim]"
    )
    console.print(rows)
    console.print("\n[bold]largest changes[/bold]")
    for one in changes.largest_changes(6):
        image, change = escape(printable(one.record.image)), escape(_describe_change(one))
        console.print(f"  {image}  [dim]{change}[/dim]", soft_wrap=True)
    console.print()
    table([replace(result, worst=()) for result in results], dict(CHECKS), console)


def _describe_change(one: MapChange) -> str:
    changed = (
        "" if one.same_prediction else f", {one.base.predicted_name or one.base.predicted} → {one.record.prediction}"
    )
    return f"correlation {one.distances['spearman']:.2f}, top overlap {one.distances['iou']:.2f}{changed}"


def _sheet(path: str, base: str, recorded: RecordedRun, key: MethodLayer, changes: Difference) -> None:
    """Write the images with the largest changes, before and after; a baseline file has the maps only."""
    import numpy as np

    from camcli.checks import read_run
    from camcli.checks.report.contact_sheet import SheetRow, heat_alone, overlays, write_sheet
    from camcli.output import is_run_folder

    most = changes.largest_changes(12)
    after = overlays(recorded, key, [one.record for one in most])
    before: dict[str, np.ndarray] = {}
    if is_run_folder(base):
        old = read_run(base)
        names = {one.base.image for one in most}
        record = [s for s in old.images if s.image in names]
        own = key if key in old.keys else old.keys[0]
        before = {image: picture for (image, _), picture in overlays(old, own, record).items()}
    size = recorded.header["model"]["input_size"]
    tiles = []
    for one in most:
        earlier = before.get(one.base.image)
        if earlier is None and one.base.raw is not None:
            earlier = heat_alone(one.base.raw, (size[1], size[2]))
        both = earlier, after.get((one.record.image, one.record.source))
        pictures = [picture for picture in both if picture is not None]
        tiles.append((pictures, f"{one.record.image}\n{_describe_change(one)}"))
    rows = [
        SheetRow(f"largest changes: {base} | {recorded.path}" if i == 0 else "", tiles[i : i + 3])
        for i in range(0, len(tiles), 3)
    ]
    write_sheet(path, rows)
