"""Millions of synthetic rows of shards through ``cam merge``: half an hour and 30 GB of disk, so only when asked for.

``python -m pytest tests/sweeps/test_ten_million_rows.py -n 0 -s --timeout 7200 --basetemp FOLDER_WITH_30_GB``;
``ROWS=100000,300000`` is quicker, ``SHARDS=0`` takes units of 384 rows in place of journals, and measures the end of
their run as well.
"""

import os
import shutil
from pathlib import Path

from tests.engines.synthetic import end_apart, merge_apart, write_shards, write_units
from tests.output.test_memory import MEGABYTE, needs_proc

ROWS = [int(rows) for rows in os.environ.get("ROWS", "1000000,3000000,10000000").split(",")]
SHARDS = int(os.environ.get("SHARDS", "64"))


@needs_proc
def test_memory_of_a_merge_is_flat(tmp_path: Path) -> None:
    """A row is 1 kB; the merge holds none of them, nor does the end of a run in units."""
    peaks = []
    measured = {"merge": merge_apart} if SHARDS else {"end": end_apart, "merge": merge_apart}
    what = f"{SHARDS} shards" if SHARDS else "units"
    print(f"\n{what}\n| | rows | seconds | processor time, s | µs a row | peak memory, MB |\n|---|--:|--:|--:|--:|--:|")
    for rows in ROWS:
        run = tmp_path / str(rows)
        if SHARDS:
            write_shards(run, rows, SHARDS)
        else:
            write_units(run, rows)
        for step, cost_of in measured.items():
            cost = cost_of(run)
            peaks.append((step, cost["peak"]))
            each, peak = 1e6 * cost["processor"] / rows, cost["peak"] / MEGABYTE
            seconds = f"{cost['seconds']:.0f} | {cost['processor']:.0f}"
            print(f"| {step} | {rows:,} | {seconds} | {each:.0f} | {peak:.0f} |", flush=True)
        shutil.rmtree(run)
    for step in measured:
        of_step = [peak for one, peak in peaks if one == step]
        assert max(of_step) - min(of_step) < 6 * MEGABYTE, peaks
