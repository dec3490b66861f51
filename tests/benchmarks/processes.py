"""Images a second with several processes, of a model that costs nothing: ``python -m tests.benchmarks.processes``.

What is left is decoding, drawing, encoding and writing, which one interpreter limits. Each number of processes explains
the same images in turn, several rounds of all of them, so that what else a machine does falls on all; the ratio counts.
The time is that between the first and the last row: not that of starting processes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from torch import nn

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.run import run
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from tests.conftest import photographs


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


def measure(images: Path, processes: int, count: int) -> tuple[float, float]:
    """Images a second while rows come, and of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            image_path=(str(images),), output_dir=str(Path(folder, "run")), processes=str(processes), layer=("pool",),
            model="factory:tests.benchmarks.processes:build", input_size="224", device="cpu", num_classes=10,
            batch_size="16",
        )  # fmt: skip
        watch, started = Times(), time.perf_counter()
        run(config, command=("cam", "run"), stop=Stop(), watch=watch)
        whole = time.perf_counter() - started
    # All processes are under way from a tenth of the rows on; before, some are still starting.
    first = len(watch.times) // 10
    return (len(watch.times) - first) / (watch.times[-1] - watch.times[first]), count / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256, help="longer side of the images")
    arguments = parser.parse_args()
    numbers = [int(number) for number in arguments.processes.split(",")]
    rates: dict[int, list[tuple[float, float]]] = {number: [] for number in numbers}
    with tempfile.TemporaryDirectory() as folder:
        pictures = [Image.open(path).convert("RGB") for path in photographs()]
        for number in range(arguments.images):
            path = Path(folder, f"{number:06}.jpg")
            if number < len(pictures):
                pictures[number].thumbnail((arguments.side, arguments.side))
                pictures[number].save(path, quality=90)
            else:
                os.link(Path(folder, f"{number % len(pictures):06}.jpg"), path)
        for _ in range(arguments.rounds):
            for number in numbers:
                rates[number].append(measure(Path(folder), number, arguments.images))
    base = numbers[0]
    print(
        f"{arguments.images} images of {arguments.side} pixels, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"| processes | images/s | against {base} | whole command, images/s |\n|---:|---:|---:|---:|")
    for number in numbers:
        steady, whole = (median(values) for values in zip(*rates[number], strict=True))
        ratio = median(mine[0] / theirs[0] for mine, theirs in zip(rates[number], rates[base], strict=True))
        print(f"| {number} | {steady:.0f} | {ratio:.2f} | {whole:.0f} |")


if __name__ == "__main__":
    main()
