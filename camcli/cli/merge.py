"""``cam merge``: join the shards of a run."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.errors import printable

HELP = "Join the shards of a run: the index that one process would have written."
EXAMPLES = """Examples:

cam merge out

cam merge out --csv maps.csv

Repeating it writes the same. Exit codes: 0 every image explained, 1 shards or images are missing (each is named) or \
the folder cannot be written, 2 wrong usage, 3 some images could not be explained."""


@takes_settings(())
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    run: str = typer.Argument(..., metavar="RUN", help="The run folder that the shards wrote."),
    csv: str | None = typer.Option(None, metavar="FILE", help="The index as a flat table as well."),
    parquet: str | None = typer.Option(None, metavar="FILE", help="That table as a Parquet file as well."),
) -> None:
    from camcli.engines.merge import merge
    from camcli.output import check_named_file, require_parquet

    if csv:
        check_named_file("--csv", csv)
    if parquet:
        require_parquet()
        check_named_file("--parquet", parquet)
    merged = merge(run, csv, parquet=parquet)
    counts, index = merged.counts, merged.run_dir / "index.json"
    if mode.json:
        document = {
            "status": merged.status,
            "exit_code": merged.exit_code,
            "output_dir": str(merged.run_dir),
            "index": str(index),
            "shards": merged.shards,
            "counts": counts,
            "timing": merged.timing,
        }
        print(json.dumps(document), flush=True)
    elif not mode.quiet:
        images = f"{counts['images']} image" + "s" * (counts["images"] != 1)
        print(
            printable(
                f"{merged.shards} shard{'s' * (merged.shards != 1)} merged, {images}: {counts['ok']} explained, "
                f"{counts['failed']} failed\nresults in {merged.run_dir}: index.json",
                lines=True,
            )
        )
    if mode.quiet and counts["failed"]:
        print(printable(f"cam: {counts['failed']} of {counts['images']} images failed; see {index}"), file=sys.stderr)
    raise typer.Exit(merged.exit_code)
