"""`cam run` against the usual loops over grad-cam and torchcam: ``python -m tests.benchmarks.peers``.

The loops are what users write: Pillow, the model's own transform, batches of 32, an overlay, ``cv2.imwrite``. All get
the same photographs, the same model and layer, and write one JPEG overlay an image, as large as the photograph and of
the same quality. Contenders take turns, round by round, and ratios are medians over the rounds of what was measured
within a round, so that a change of the machine's load meets all of them. A loop does one batch a round, since each of
its batches takes as long as the one before; `cam run`, which works on several batches at once, does all photographs.
Loading models is not counted; what `cam run` does before its first image stands in a column of its own. ``--compile``
adds the forward pass of the whole model compiled and frozen, and `cam run --compile`.

Waiting threads sleep for all contenders (``OMP_WAIT_POLICY``), which `cam` sets for itself: with other programs on the
cores the loops would be several times slower without it. That freed memory is kept, which `cam` sees to as well, goes
for the forward pass alone too, but not for the loops, which run in a process of their own as their users start it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from camcli import RunConfig, run
from camcli.concurrency import keep_freed_memory
from camcli.models import Model, load_model
from camcli.pipeline.setup import Setup
from camcli.pipeline.stream import Watcher
from camcli.schemas.index import ImageRow
from camcli.speed import measure_forward_rate
from tests.benchmarks import models
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.photographs import make_photographs

BATCH = 32
Contender = Callable[[], float]
"""Does all images once; images per second."""


def grad_cam_loop(model: nn.Module, transform: Any, layer: str, paths: Sequence[Path], out: Path) -> float:
    """As in grad-cam's documentation."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    start = time.perf_counter()
    with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            images = [Image.open(path).convert("RGB") for path in some]
            maps = cam(torch.stack([transform(image) for image in images]), targets=None)
            for path, image, heat in zip(some, images, maps, strict=True):
                resized = cv2.resize(heat, image.size)
                overlay = show_cam_on_image(np.float32(image) / 255, resized, use_rgb=True)  # type: ignore[arg-type]
                cv2.imwrite(str(out / path.name), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
    return len(paths) / (time.perf_counter() - start)


def torchcam_loop(model: nn.Module, transform: Any, layer: str, paths: Sequence[Path], out: Path) -> float:
    """As in torchcam's documentation, batched."""
    from torchcam.methods import GradCAM
    from torchcam.utils import overlay_mask
    from torchvision.transforms.functional import to_pil_image

    start = time.perf_counter()
    with GradCAM(model, target_layer=layer) as extractor:
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            images = [Image.open(path).convert("RGB") for path in some]
            scores = model(torch.stack([transform(image) for image in images]))
            maps = extractor(scores.argmax(1).tolist(), scores)[0]
            for path, image, heat in zip(some, images, maps, strict=True):
                overlay = overlay_mask(image, to_pil_image(heat, mode="F"), alpha=0.5)
                cv2.imwrite(str(out / path.name), cv2.cvtColor(np.asarray(overlay), cv2.COLOR_RGB2BGR))
    return len(paths) / (time.perf_counter() - start)


class _Stopwatch(Watcher):
    """When the first image was taken."""

    began = 0.0

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        self.began = time.perf_counter()

    def row(self, row: ImageRow) -> None:
        assert row["status"] == "ok", row["error"]


class CamRun:
    """``cam run`` with the settings that give the outputs of the loops."""

    def __init__(
        self, name: str, precision: str, folder: Path, out: Path, *, compiled: bool = False, batch_size: int = BATCH
    ) -> None:
        self.preparing: list[float] = []
        self.config = RunConfig(
            image_path=[str(folder)], output_dir=str(out), overwrite=True,  # type: ignore[arg-type]
            model=f"factory:tests.benchmarks.models:{name}", layer=[models.LAYERS[name]],  # type: ignore[arg-type]
            save=["overlay"], quality=95, batch_size=str(batch_size), precision=precision, device="cpu",  # type: ignore[arg-type]
            compile=compiled,
        )  # fmt: skip

    def __call__(self) -> float:
        watch, start = _Stopwatch(), time.perf_counter()
        summary = run(self.config, watch=watch)
        self.preparing.append(watch.began - start)
        return summary.explained / (time.perf_counter() - watch.began)


def bare(model: Model, precision: str, setting: str) -> float:
    """The forward pass alone."""
    with model.prepared():
        return measure_forward_rate(model, BATCH, precision, setting=setting)


def race(contenders: dict[str, Contender], rounds: int) -> list[dict[str, float]]:
    """Images per second of each, in turn, ``rounds`` times."""
    results = []
    for number in range(rounds):
        results.append({name: contender() for name, contender in contenders.items()})
        shown = ", ".join(f"{name} {rate:.2f}" for name, rate in results[-1].items())
        print(f"round {number + 1} of {rounds}, images/s: {shown}", flush=True)
    return results


LOOPS = {"grad-cam loop": grad_cam_loop, "torchcam loop": torchcam_loop}


class Elsewhere:
    """The loops over one model, in a process of their own until the end of this one."""

    def __init__(self, name: str, paths: Sequence[Path], out: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=_serve, args=(there, name, paths, out), daemon=True).start()

    def __call__(self, loop: str) -> float:
        self._pipe.send(loop)
        rate: float = self._pipe.recv()
        return rate


def _serve(pipe: Connection, name: str, paths: Sequence[Path], out: Path) -> None:
    module, transform = getattr(models, name)()
    module = module.eval().requires_grad_(True)  # as users have it
    with suppress(EOFError):  # all is measured
        while True:
            loop = pipe.recv()
            (out / loop).mkdir(parents=True, exist_ok=True)
            pipe.send(LOOPS[loop](module, transform, models.LAYERS[name], paths, out / loop))


def contenders_of(name: str, paths: Sequence[Path], out: Path, *, compiled: bool) -> dict[str, Contender]:
    """All that is measured with one model."""
    mine = load_model(f"factory:tests.benchmarks.models:{name}", device=torch.device("cpu"))
    loops = Elsewhere(name, paths[:BATCH], out)
    contenders: dict[str, Contender] = {loop: partial(loops, loop) for loop in LOOPS}
    contenders["plain forward"] = partial(bare, mine, "fp32", "plain")
    for precision in ("fp32", "bf16"):
        contenders[f"best eager forward {precision}"] = partial(bare, mine, precision, "folded")
        contenders[f"cam run {precision}"] = CamRun(name, precision, paths[0].parent, out / f"cam-{precision}")
        if compiled:
            folder = out / f"compiled-{precision}"
            contenders[f"compiled forward {precision}"] = partial(bare, mine, precision, "compiled")
            contenders[f"cam run --compile {precision}"] = CamRun(
                name, precision, paths[0].parent, folder, compiled=True
            )
    return contenders


def table(name: str, contenders: dict[str, Contender], results: list[dict[str, float]]) -> list[str]:
    """A table in Markdown."""

    def ratio(top: str, bottom: str) -> str:
        return f"{median(result[top] / result[bottom] for result in results):.2f}"

    lines = [
        f"### {name}",
        "",
        "| | images/s | × grad-cam loop | × torchcam loop | share of the best eager forward "
        "| share of the compiled forward | before the first image |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, contender in contenders.items():
        precision = "bf16" if key.endswith("bf16") else "fp32"
        before = f"{median(contender.preparing):.1f} s" if isinstance(contender, CamRun) else ""
        rate = f"{median(result[key] for result in results):.2f}"
        others = ("grad-cam loop", "torchcam loop", f"best eager forward {precision}", f"compiled forward {precision}")
        ratios = [ratio(key, other) if other in contenders else "" for other in others]
        lines.append(f"| {' | '.join([key, rate, *ratios, before])} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(models.LAYERS), choices=list(models.LAYERS))
    parser.add_argument("--images", type=int, default=4 * BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="the compiled forward pass and `cam run --compile` too")
    given = parser.parse_args()
    keep_freed_memory()
    machine = describe_machine()
    report: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        paths = make_photographs(Path(temporary) / "photographs", given.images)
        for name in given.models:
            contenders = contenders_of(name, paths, Path(temporary) / name, compiled=given.compile)
            results = race(contenders, given.rounds)
            report += ["", *table(name, contenders, results)]
    print("\n".join(["", *machine, f"{given.images} photographs of 500×375, {given.rounds} rounds", *report]))


if __name__ == "__main__":
    main()
