"""Many synthetic rows through journal, index and table; prints how the memory of this process grew.

A program of its own, because only a fresh process can tell what it holds:
``python -m tests.output.rows_in_bulk RUN N``.
"""

from __future__ import annotations

import gc
import json
import sys
from array import array
from pathlib import Path

from camcli.output import Ending, Journal, open_run, write_csv, write_index

from .examples import TIMING, header, item


def resident_bytes() -> int:
    """What this process holds in memory now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def name(number: int) -> str:
    return f"{number // 1000:04}/{number:07}.jpg"


def append_all(journal: Journal, count: int, first: int = 0) -> None:
    template = item()
    for number in range(first, count):
        journal.append({**template, "image": name(number)})


def main(run_dir: str, count: int) -> None:
    grown: dict[str, int] = {}
    with open_run(run_dir, header()) as folder:
        append_all(folder.journal, 500)
        start = resident_bytes()
        append_all(folder.journal, count, 500)
        grown["append"] = resident_bytes() - start
        write_index(run_dir, header(), folder.journal, Ending("complete", "2026-01-02T03:05:05Z", TIMING))
        grown["index"] = resident_bytes() - start
        write_csv(Path(run_dir, "index.csv"), folder.journal)
        grown["table"] = resident_bytes() - start
    del folder
    with open_run(run_dir, header()) as folder:
        grown["reopen"] = resident_bytes() - start
        rows = [folder.journal.find("photos", name(number)) for number in (0, count // 2, count - 1)]
        assert all(rows)
        shuffled = array("q", (row.offset for row in rows if row is not None))
        folder.journal.compact(reversed(shuffled))
        grown["compact"] = resident_bytes() - start
        last = folder.journal.find("photos", name(count - 1))
        assert last is not None
        assert last.offset == len(folder.journal.read_at(0)) + 1
    print(json.dumps(grown))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
