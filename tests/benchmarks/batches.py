"""What the size of a batch brings and costs on a CPU: ``python -m tests.benchmarks.batches``.

Images/s end to end with overlays, medians over rounds in which the sizes take turns; and by how much each run, in a
process of its own, exceeds at its highest what is resident after imports, model and one forward pass of one image.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch

from camcli.concurrency import keep_freed_memory
from camcli.models import load_model
from tests.benchmarks import models
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.peers import CamRun
from tests.benchmarks.photographs import make_photographs

SIZES = (8, 12, 16, 24, 32)


def resident(key: str) -> int:
    """MiB of this process by ``/proc``: ``VmRSS`` now, ``VmHWM`` at its highest."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1]) // 1024


def memory(name: str, size: int, folder: Path, out: Path) -> int:
    """MiB above one forward pass, in this process."""
    model = load_model(f"factory:tests.benchmarks.models:{name}", device=torch.device("cpu"))
    with model.prepared() as module, torch.no_grad():
        module(torch.randn(1, 3, 224, 224))
    before = resident("VmRSS")
    del model, module
    CamRun(name, "fp32", folder, out, batch_size=size)()
    return resident("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs=4, metavar=("MODEL", "SIZE", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    keep_freed_memory()
    if given.memory:
        name, size, folder, out = given.memory
        print(memory(name, int(size), Path(folder), Path(out)))
        return
    print("\n".join(describe_machine()), flush=True)
    print(f"\n| batches of | {' | '.join(map(str, SIZES))} |\n{'|---' * (len(SIZES) + 1)}|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary) / "images", Path(temporary) / "out"
        make_photographs(folder, given.images)
        for name in models.LAYERS:
            runs = {size: CamRun(name, "fp32", folder, out, batch_size=size) for size in SIZES}
            rounds = [{size: run() for size, run in runs.items()} for _ in range(given.rounds)]
            rates = [f"{median(rates[size] for rates in rounds):.1f}" for size in SIZES]
            print(f"| {name}, images/s | {' | '.join(rates)} |", flush=True)
            more = []
            for size in SIZES:
                command = [sys.executable, "-m", "tests.benchmarks.batches", "--memory", name, str(size), folder, out]
                more.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
            print(f"| {name}, MiB above one forward pass | {' | '.join(more)} |", flush=True)


if __name__ == "__main__":
    main()
