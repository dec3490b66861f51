"""Images a second with several processes: ``python -m tests.benchmarks.processes``.

By default of a model that costs nothing: what is left is decoding, drawing, encoding and writing, which one interpreter
limits. ``--model builtin --images 200 --photographs FOLDER`` is a real run; leave ``OMP_NUM_THREADS`` unset, so that
one process uses all cores. Each number of processes explains the same images in turn, several rounds of all of them, so
that what else a machine does falls on all; the ratios count. The rate is that of the middle three fifths of the rows,
while all processes explain; the seconds are those of a whole ``cam run``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from torch import nn

from camcli.concurrency import Stop, keep_freed_memory
from camcli.config.settings import RunConfig
from camcli.engines.run import run
from camcli.images.entry import has_image_extension
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from tests.benchmarks.photographs import SAMPLES

FREE = "factory:tests.benchmarks.processes:build"


class Free(nn.Module):
    """One pooling layer, which is the target layer, and a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(32)
        self.head = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(x).mean((2, 3)))
        return logits


def build() -> nn.Module:
    """The model, as ``factory:tests.benchmarks.processes:build``."""
    torch.manual_seed(0)
    return Free()


class Times(Watcher):
    """When rows come."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def row(self, row: ImageRow) -> None:
        self.times.append(time.perf_counter())


def measure(images: Path, run_dir: Path, processes: int, model: str) -> float:
    """Images a second while rows come, into a new run folder."""
    free = {"layer": ("pool",), "input_size": "224", "num_classes": 10, "batch_size": "16"} if model == FREE else {}
    config = RunConfig(
        image_path=(str(images),), output_dir=str(run_dir), processes=str(processes), device="cpu",
        model=model, **free,  # type: ignore[arg-type]
    )  # fmt: skip
    watch = Times()
    run(config, command=("cam", "run"), stop=Stop(), watch=watch)
    # Before, some processes are still starting; after, some have ended.
    first, last = len(watch.times) // 5, len(watch.times) * 4 // 5
    return (last - first) / (watch.times[last] - watch.times[first])


def measure_command(images: Path, run_dir: Path, processes: int, model: str) -> float:
    """Seconds of a whole ``cam run`` into a new run folder, from its start to its end."""
    options = ["--layer", "pool", "--input-size", "224", "--num-classes", "10", "--batch-size", "16"] * (model == FREE)
    command = [
        sys.executable, "-m", "camcli", "run", str(images), "-o", str(run_dir), "--device", "cpu",
        "--model", model, "--processes", str(processes), "--quiet", *options,
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def link_images(folder: Path, count: int, side: int, photographs_of: Path | None) -> None:
    """So many files: photographs in turn, made smaller, or as they are where a folder of them is named."""
    if photographs_of is not None:
        paths = sorted(path for path in photographs_of.rglob("*") if has_image_extension(path.name))
        for number in range(count):
            shutil.copyfile(paths[number % len(paths)], folder / f"{number:06}.jpg")
        return
    pictures = [Image.open(path).convert("RGB") for path in sorted(SAMPLES.rglob("*.jpg"))]
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number < len(pictures):
            pictures[number].thumbnail((side, side))
            pictures[number].save(path, quality=90)
        else:
            os.link(folder / f"{number % len(pictures):06}.jpg", path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256, help="longer side of the images")
    parser.add_argument("--photographs", type=Path, help="a folder of photographs, used as they are")
    parser.add_argument("--model", default=FREE, help="a real one, such as builtin")
    arguments = parser.parse_args()
    numbers = [int(number) for number in arguments.processes.split(",")]
    keep_freed_memory()  # as the command does
    rates: dict[int, list[tuple[float, float]]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as name:
        # Run folders stay until the end: for half a minute after files were removed, ext4 searches for a free inode at
        # each new file, which takes more of the kernel's time than all writing.
        images, runs = Path(name, "images"), Path(name, "runs")
        images.mkdir()
        link_images(images, arguments.images, arguments.side, arguments.photographs)
        for round_ in range(arguments.rounds):
            for number in numbers if round_ % 2 == 0 else reversed(numbers):
                steady = measure(images, runs / f"{round_}-{number}", number, arguments.model)
                seconds = measure_command(images, runs / f"{round_}-{number}-command", number, arguments.model)
                rates[number].append((steady, seconds))
    base = numbers[0]
    threads = os.environ.get("OMP_NUM_THREADS", "all cores")
    print(
        f"{arguments.images} images, {arguments.model}, {os.cpu_count()} cores, threads of a model: {threads}, load "
        f"{os.getloadavg()[0]:.1f}, medians of {arguments.rounds} rounds"
    )
    print(f"| processes | images/s | against {base} | whole command, s | against {base} |\n|---:|---:|---:|---:|---:|")
    for number in numbers:
        steady, whole = (median(values) for values in zip(*rates[number], strict=True))
        pairs = list(zip(rates[number], rates[base], strict=True))
        rate, seconds = median(m[0] / b[0] for m, b in pairs), median(b[1] / m[1] for m, b in pairs)
        print(f"| {number} | {steady:.0f} | {rate:.2f} | {whole:.1f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
