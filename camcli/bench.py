"""Where the time of a run goes on this machine, against the bare forward pass of the same model: ``cam bench``."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camcli.concurrency import cores
from camcli.config.settings import RunConfig
from camcli.device import choose_device, choose_precision, device_name
from camcli.engines.placement import visible_gpus
from camcli.methods import find_method
from camcli.models import Model
from camcli.pipeline.setup import Setup, open_model
from camcli.pipeline.stream import Watcher, run
from camcli.speed import measure_forward_rate

PHOTOGRAPH = (375, 500)
"""Height and width of the images that are generated where none are given: those of a usual photograph of ImageNet."""
_ENOUGH = 0.97  # of the best rate: a smaller batch that reaches it is the better one
_WORTH = 1.15  # times as fast: below, a lower precision is not worth its rounding
_LOADING, _DRAWING = ("decode", "preprocess"), ("render", "encode", "write")

Say = Callable[[str], None]


@dataclass(frozen=True)
class ForwardPass:
    """The bare forward pass in one setting.

    Attributes:
        setting: ``plain``, ``channels-last``, ``folded`` (and channels-last) or ``compiled`` (and both).
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        batch_size: images a pass.
        images_per_second: None where it does not work.
        reason: why it does not work.
    """

    setting: str
    precision: str
    batch_size: int
    images_per_second: float | None
    reason: str | None = None


@dataclass(frozen=True)
class EndToEnd:
    """A run end to end: from image files to files of the run folder.

    Attributes:
        images: explained.
        seconds: from the first image on; what comes before is ``preparing``.
        preparing: seconds before the first image: loading the model, verifying the layout, tuning.
        images_per_second: over ``seconds``.
        share: of the ceiling.
        stages: busy seconds of each stage, summed over its threads.
        busy: share of the time in which the stage that bounds the run could do nothing more: ``model`` (one thread),
            ``loading`` and ``drawing`` (``workers`` threads each).
        bottleneck: the busiest of them.
        cores: how many cores the process kept busy.
    """

    images: int
    seconds: float
    preparing: float
    images_per_second: float
    share: float
    stages: dict[str, float]
    busy: dict[str, float]
    bottleneck: str
    cores: float


@dataclass(frozen=True)
class Bench:
    """All that was measured."""

    model: str
    methods: tuple[str, ...]
    device: str
    precision: str
    batch_size: int
    workers: int
    forward: tuple[ForwardPass, ...]
    ceiling: ForwardPass
    end_to_end: EndToEnd
    recommended: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The document of ``cam bench --json``."""
        return {"schema": "camcli.bench/1", **asdict(self)}


def bench(config: RunConfig, *, seconds: float = 10.0, say: Say = lambda line: None) -> Bench:
    """Measure the settings of a run.

    Args:
        config: the model, method, device and outputs; without images some are generated. With ``compile`` the compiled
            forward pass is the ceiling.
        seconds: about how long the run end to end takes; each forward pass a fifth of it.
        say: called with a line for each thing that is measured.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    for key in config.method:
        find_method(key)  # mistyped: say so before anything is measured
    model = open_model(config, device)
    size = config.parsed.batch_size
    sizes = (size,) if size else (1, 4, 16, 32) if device.type == "cpu" else (16, 64, 128, 256)
    with model.prepared():
        measure = partial(_measure_pass, model, say, seconds / 5)
        forward = list(_forward_passes(precision, sizes, measure))
        batch = _smallest(forward, precision)
        if config.compile:
            forward.append(measure("compiled", precision, batch))
    ceiling = max((f for f in forward if f.precision == precision), key=_rate)
    with tempfile.TemporaryDirectory(prefix="cam-bench-") as folder:
        count = config.limit or batch * max(3, math.ceil(_rate(ceiling) * seconds / batch))
        images = config.image_path or (str(make_images(Path(folder) / "images", min(count, 4096))),)
        whole = replace(
            config, image_path=images, output_dir=str(Path(folder) / "run"), overwrite=True, precision=precision,
            batch_size=str(batch), limit=count,
        )  # fmt: skip
        say(f"end to end, batches of {batch}")
        watch = _Stopwatch()
        end = _end_to_end(whole, watch, _rate(ceiling))
    return Bench(
        model=model.name, methods=config.method, device=f"{device} ({device_name(device)})", precision=precision,
        batch_size=batch, workers=watch.workers, forward=tuple(forward), ceiling=ceiling, end_to_end=end,
        recommended=_recommend_flags(forward, end, precision, batch)
        | {"--processes": str(recommend_processes(end, cores(), visible_gpus(config.device), device.type))},
    )  # fmt: skip


def make_images(folder: Path, count: int) -> Path:
    """Write ``count`` JPEG files with structure at all scales, which take as long to decode as photographs do."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    height, width = PHOTOGRAPH
    for i in range(count):
        picture = np.zeros((height, width, 3), np.float32)
        for cells in (4, 16, 64, 200):
            noise = chance.normal(0, 40 * 4 / (3 + cells**0.5), (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        is_encoded, data = cv2.imencode(
            ".jpg", np.clip(picture + 128, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
        )
        assert is_encoded
        (folder / f"{i:05}.jpg").write_bytes(bytes(data))
    return folder


def _forward_passes(
    precision: str, sizes: Sequence[int], measure: Callable[[str, str, int], ForwardPass]
) -> Iterator[ForwardPass]:
    """The settings at one batch size, then the best one at the others."""
    middle = sizes[len(sizes) // 2]
    half = "fp16" if precision == "fp16" else "bf16"
    for setting, kind in (("plain", "fp32"), ("channels-last", "fp32"), ("folded", "fp32"), ("folded", half)):
        yield measure(setting, kind, middle)
    for size in sizes:
        if size != middle:
            yield measure("folded", precision, size)


def _measure_pass(model: Model, say: Say, seconds: float, setting: str, precision: str, size: int) -> ForwardPass:
    say(f"forward pass, {setting}, {precision}, batches of {size}")
    try:
        rate = measure_forward_rate(model, size, precision, setting=setting, seconds=seconds)
    except (RuntimeError, MemoryError) as error:
        # Where a setting does not work (no compiler, not enough memory) that is the result.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return ForwardPass(setting, precision, size, None, lines[0])
    return ForwardPass(setting, precision, size, rate)


class _Stopwatch(Watcher):
    """When the first image was taken, and by how many threads."""

    start, processor, workers = 0.0, 0.0, 0

    def ready(self, setup: Setup, notes: Sequence[str]) -> None:
        self.start, self.processor, self.workers = time.perf_counter(), time.process_time(), setup.workers


def _end_to_end(config: RunConfig, watch: _Stopwatch, ceiling: float) -> EndToEnd:
    start = time.perf_counter()
    summary = run(config, command=("cam", "bench"), watch=watch)
    seconds, processor = time.perf_counter() - watch.start, time.process_time() - watch.processor
    stages: dict[str, float] = summary.timing["stages"]
    busy = {
        "model": stages["model"] / seconds,
        "loading": sum(stages[s] for s in _LOADING) / seconds / watch.workers,
        "drawing": sum(stages[s] for s in _DRAWING) / seconds / watch.workers,
    }
    rate = summary.explained / seconds
    return EndToEnd(
        images=summary.explained, seconds=seconds, preparing=watch.start - start, images_per_second=rate,
        share=rate / ceiling, stages=stages, busy=busy, bottleneck=max(busy, key=lambda name: busy[name]),
        cores=processor / seconds,
    )  # fmt: skip


def recommend_processes(end: EndToEnd, cores: int, gpus: int, kind: str) -> int:
    """How many processes occupy this machine: as many as one leaves cores for, and the device time.

    Args:
        end: of one process.
        cores: of this machine.
        gpus: that processes are dealt out to; 0 where a certain one is asked for.
        kind: of device.
    """
    by_cores = min(cores, round(cores / max(end.cores, 0.1)))
    if kind == "cpu":
        return max(1, by_cores)
    devices = max(1, gpus)
    return max(devices, min(by_cores, devices * round(1 / max(end.busy["model"], 0.01))))


def _rate(forward: ForwardPass) -> float:
    return forward.images_per_second or 0.0


def _smallest(forward: Sequence[ForwardPass], precision: str) -> int:
    """The smallest batch about as fast as the fastest."""
    folded = [f for f in forward if f.setting == "folded" and f.precision == precision]
    best = max(map(_rate, folded))
    return min(f.batch_size for f in folded if _rate(f) >= _ENOUGH * best)


def _recommend_flags(forward: Sequence[ForwardPass], end: EndToEnd, precision: str, batch: int) -> dict[str, str]:
    """Flags for this machine: as many workers as files need to keep up with the model, and one more."""
    best: dict[str, float] = {}
    for f in forward:
        if f.setting == "folded":
            best[f.precision] = max(best.get(f.precision, 0.0), _rate(f))
    halves = [kind for kind in best if kind != "fp32" and best[kind] > _WORTH * best.get("fp32", 0.0)]
    chosen = halves[0] if halves else "fp32"
    each = max(sum(end.stages[s] for s in part) for part in (_LOADING, _DRAWING)) / max(1, end.images)
    rate = best.get(chosen) or best[precision]
    workers = min(max(2, math.ceil(each * rate) + 1), max(2, cores()))
    return {"--batch-size": str(batch), "--workers": str(workers), "--precision": chosen}
