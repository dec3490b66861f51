"""The whole suite, several times, while another program keeps every core busy: does a test depend on timing?

``python -m tests.sweeps.suite_under_load [--runs 10] [--at-once 2] [--nice 10] [arguments of pytest]`` runs the
committed state in fresh clones and prints a line for each run, with the names of the tests that failed. It ends with
exit code 1 where one did. Each core has a program that only counts, with the given niceness (0: it gets as much as a
test); with ``--at-once 2`` each run has another one beside it as well, which loads memory, disks and the scheduler as
no counter does. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from camcli.concurrency import cores

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A run of the suite: pytest's exit code and output, seconds by the wall and on the processors."""

    code: int
    printed: str
    wall: float
    processor: float

    def __str__(self) -> str:
        lines = self.printed.rstrip().splitlines()
        share = self.processor / self.wall / cores()
        said = f"exit code {self.code}, {self.processor:.0f} s on the processors ({share:.0%} of all): "
        failed = [f"  {line}" for line in lines if line.startswith(("FAILED", "ERROR"))]
        return "\n".join([said + (lines[-1] if lines else "nothing printed"), *failed])


@contextlib.contextmanager
def every_core_busy(niceness: int) -> Iterator[None]:
    """A program on each core that does nothing but count, until the block ends."""
    counters = []
    try:
        for core in os.sched_getaffinity(0):
            count = f"import os; os.sched_setaffinity(0, [{core}]); os.nice({niceness})\nwhile True: pass"
            counters.append(subprocess.Popen([sys.executable, "-c", count]))
        yield
    finally:
        for counter in counters:
            counter.kill()
            counter.wait()


def run_suite(clone: Path, arguments: list[str]) -> Ended:
    """Run pytest in a clone; the processor time is that of all its processes."""
    output = clone.with_suffix(".txt")
    began = time.perf_counter()
    with output.open("wb") as file:
        command = [sys.executable, "-m", "pytest", "-q", *arguments]
        process = subprocess.Popen(
            command, cwd=clone, env={**os.environ, "PYTHONPATH": str(clone)}, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    return Ended(process.returncode, output.read_text(errors="replace"), wall, used.ru_utime + used.ru_stime)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=2, help="runs beside each other")
    parser.add_argument("--nice", type=int, default=10, help="of the programs that only count, 0 to 19")
    known, arguments = parser.parse_known_args()
    codes = []
    with tempfile.TemporaryDirectory() as name, every_core_busy(known.nice), ThreadPoolExecutor(known.at_once) as pool:

        def run(index: int) -> Ended:
            clone = Path(name) / str(index)
            subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
            return run_suite(clone, arguments)

        for index, ended in enumerate(pool.map(run, range(known.runs)), 1):
            print(f"run {index} of {known.runs}: {ended}", flush=True)
            codes.append(ended.code)
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
