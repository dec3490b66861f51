"""Shards of synthetic rows that have ended, as many as one likes: what ``cam merge`` joins, without a model.

A program of its own, which measures: ``python -m tests.engines.synthetic RUN ROWS SHARDS`` writes the shards, merges
them in a process of its own, and prints its peak memory and its seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from camcli.config.parse import Shard
from camcli.output import Ending, InputDigest, UnitFiles, end_units, open_units, read_plan
from camcli.output.header import header_fields, journal_header
from camcli.output.jsontext import strict_json
from camcli.output.shard_plan import Plan, ending_name, journal_name, make_plan, write_plan
from camcli.schemas.index import Header
from tests.output.examples import TIMING, header, item

BATCH_SIZE = 12
_COUNTS = {"images": 0, "ok": 0, "failed": 0, "maps": 0, "degenerate_maps": 0, "labelled": 0, "correct": 0,
           "passed_over": 3}  # fmt: skip


def name(number: int) -> str:
    return f"{number // 1000:05}/{number:08}.jpg"


def write_shards(run_dir: Path, rows: int, shards: int) -> Plan:
    """Every shard's journal and ending, and the plan."""
    fields = header()
    fields["config"]["batch_size"] = BATCH_SIZE
    top = cast(Header, fields)
    begin, _, end = strict_json({**item(), "image": "NAME"}).decode().partition("NAME")
    digest, of_run = InputDigest(), strict_json(journal_header(top)) + b"\n"
    (run_dir / "shards").mkdir(parents=True)
    parts = [Shard(index, shards) for index in range(shards)]
    paths = [run_dir / journal_name(shard) for shard in parts]
    for path in paths:
        path.write_bytes(of_run)
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("ab")) for path in paths] if shards < 200 else []
        for first in range(0, rows, BATCH_SIZE):
            numbers = range(first, min(first + BATCH_SIZE, rows))
            for number in numbers:
                digest.add("photos", name(number))
            lines = "".join(f"{begin}{name(number)}{end}\n" for number in numbers).encode()
            index = first // BATCH_SIZE % shards
            if files:
                files[index].write(lines)
            else:
                with paths[index].open("ab") as file:
                    file.write(lines)
    ending = header_fields(top, status="complete", finished="2026-01-02T03:05:05Z", counts=_COUNTS, timing=TIMING)
    for shard in parts:
        (run_dir / ending_name(shard)).write_bytes(strict_json(dict(ending)) + b"\n")
    plan = make_plan(top, shards, digest.inputs)
    write_plan(run_dir, plan)
    return plan


def write_units(run_dir: Path, rows: int, shards: int = 1) -> Plan:
    """The file of every unit of a run, its plan, and how each shard ended."""
    top = cast(Header, header())
    top["config"]["batch_size"] = BATCH_SIZE
    begin, _, end = strict_json({**item(), "image": "NAME"}).decode().partition("NAME")
    digest = InputDigest()
    for number in range(rows):
        digest.add("photos", name(number))
    plan = make_plan(top, shards, digest.inputs, in_units=True)
    run_dir.mkdir()
    write_plan(run_dir, plan)
    files = UnitFiles(run_dir, plan)
    for unit in range(plan.units):
        numbers = range(unit * files.size, unit * files.size + files.share(unit))
        files.write(unit, [f"{begin}{name(number)}{end}".encode() for number in numbers])
    ending = header_fields(top, status="complete", finished="2026-01-02T03:05:05Z", counts=_COUNTS, timing=TIMING)
    for shard in plan.all_shards():
        (run_dir / ending_name(shard)).write_bytes(strict_json(dict(ending)) + b"\n")
    return plan


def end_units_in(run_dir: str) -> None:
    """The end of a run in units, all of which are done."""
    plan = read_plan(run_dir)
    assert plan is not None
    with open_units(run_dir, plan.header, plan.inputs) as folder:
        end_units(folder, plan.header, Ending("complete", "2026-01-02T03:05:05Z", TIMING, passed_over=3))


def end_apart(run_dir: Path) -> dict[str, float]:
    """:func:`end_units_in` in a process of its own; what it costs, as :func:`merge_apart`."""
    program = "import sys; from tests.engines.synthetic import end_units_in; end_units_in(sys.argv[1])"
    return _cost([sys.executable, "-c", program, str(run_dir)])


def merge_apart(run_dir: Path) -> dict[str, float]:
    """``cam merge`` in a process of its own: its seconds, its processor time, and its peak memory in bytes."""
    return _cost([sys.executable, "-m", "camcli", "merge", str(run_dir)])


def _cost(command: list[str]) -> dict[str, float]:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "processor": round(usage.ru_utime + usage.ru_stime, 1),
        "peak": usage.ru_maxrss * 1024,
    }


def main(run_dir: str, rows: int, shards: int) -> None:
    write_shards(Path(run_dir), rows, shards)
    size = sum(path.stat().st_size for path in Path(run_dir, "shards").iterdir())
    print(json.dumps({"rows": rows, "shards": shards, "bytes": size, **merge_apart(Path(run_dir))}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
