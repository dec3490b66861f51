"""Processor time of an image, end to end, against the forward pass: ``python -m tests.benchmarks.processor_time``.

On one thread, and counted in processor time, which other programs on the machine hardly change. The share is that of
the forward pass in all the work of an image: what a run could reach of the forward pass's rate if no core ever idled.
``--compile`` adds the compiled forward pass against `cam run --compile`. The last line is about images of 32×24 pixels
and a network of one convolution: what is left of an image without its pixels is the interpreter's and the file
system's time. Since threads take turns in the interpreter, that bounds what one process can feed to an accelerator.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch._inductor.config as inductor

from camcli import RunConfig, run
from camcli.concurrency import keep_freed_memory
from camcli.models import load_model
from camcli.pipeline.setup import Setup
from camcli.pipeline.stream import Watcher
from camcli.speed import tune
from tests.benchmarks import models
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.photographs import make_photographs

BATCH, IMAGES = 16, 256
SMALL, SMALL_IMAGES = (32, 24), 2048


class _Stopwatch(Watcher):
    """Processor time of the process, of all its threads, since the first image was taken."""

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        self.began = os.times()

    def milliseconds(self) -> tuple[float, float]:
        """In the program and in the system."""
        now = os.times()
        return 1000 * (now.user - self.began.user), 1000 * (now.system - self.began.system)


def forward_milliseconds(name: str, precision: str, *, compiled: bool) -> float:
    """Of the best eager or of the compiled forward pass, an image."""
    model = load_model(f"factory:tests.benchmarks.models:{name}", device=torch.device("cpu"))
    inputs = torch.randn(BATCH, 3, 224, 224)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with model.prepared() as module, tune(model) as tuning, torch.no_grad(), half, inductor.patch(freezing=True):
        inputs = tuning.arrange(inputs)
        run = torch.compile(module) if compiled else module
        run(inputs)
        start = time.process_time()
        for _ in range(IMAGES // BATCH):
            run(inputs)
        return 1000 * (time.process_time() - start) / IMAGES


def run_milliseconds(name: str, layer: str, folder: Path, **settings: Any) -> tuple[float, float]:
    """Of the whole run but its start, an image, in the program and in the system.

    The second of two runs, since the first one warms up.
    """
    for _ in range(2):
        watch = _Stopwatch()
        config = RunConfig(
            image_path=(str(folder / "images"),), output_dir=str(folder / "out"), overwrite=True, device="cpu",
            model=f"factory:tests.benchmarks.models:{name}", layer=(layer,), save=("overlay",),
            batch_size=str(BATCH), **settings,
        )  # fmt: skip
        explained = run(config, watch=watch).explained
        program, system = watch.milliseconds()
    return program / explained, system / explained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compile", action="store_true", help="the compiled forward pass and `cam run --compile` too")
    ways = (False, True) if parser.parse_args().compile else (False,)
    keep_freed_memory()
    print("\n".join(describe_machine()), flush=True)
    print("\n| | forward pass, ms | end to end, ms | share of the forward pass |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        make_photographs(Path(temporary) / "images", IMAGES)
        for name, layer in models.LAYERS.items():
            for precision, compiled in itertools.product(("fp32", "bf16"), ways):
                alone = forward_milliseconds(name, precision, compiled=compiled)
                whole = sum(run_milliseconds(name, layer, Path(temporary), precision=precision, compile=compiled))
                how = " compiled" if compiled else ""
                print(f"| {name} {precision}{how} | {alone:.1f} | {whole:.1f} | {alone / whole:.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        make_photographs(Path(temporary) / "images", SMALL_IMAGES, SMALL)
        program, system = run_milliseconds("speck", "0", Path(temporary))
        print(f"\nwithout pixels: {program:.2f} ms an image in the program and {system:.2f} ms in the system;")
        print(f"so one process feeds at least {1000 / program:.0f} images/s, with as many cores as it likes")


if __name__ == "__main__":
    main()
