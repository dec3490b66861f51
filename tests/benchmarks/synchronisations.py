"""How often a batch makes the host wait for the device, and what is copied.

``python -m tests.benchmarks.synchronisations`` prints a table.

Runs of two and of four batches are compared, so that what happens once a run does not count. On a real CUDA device the
profiler counts; where there is none, the made-up device of :mod:`tests.fake_cuda`, which also says where they happen
(``--places``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from camcli.config.settings import RunConfig
from camcli.pipeline.stream import run
from tests.benchmarks.photographs import make_photographs
from tests.fake_cuda import fake_cuda

CASES = {
    "gradcam": ["gradcam"],
    "five gradient methods": ["gradcam", "gradcam++", "xgradcam", "hirescam", "layercam"],
    "ablationcam": ["ablationcam"],
    "scorecam": ["scorecam"],
}
NETWORK, SIZE, BATCH = "factory:tests.gpu.networks:resnet", 96, 8
_WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
        synchronisations: how often the host waited for the device.
        to_device, to_host: copies.
        bytes_to_device, bytes_to_host: copied.
        places: of synchronisations, where that is known.
        seconds: it took.
        busy: share of that in which the device computed or copied; None on the made-up device.
    """

    synchronisations: float = 0
    to_device: float = 0
    to_host: float = 0
    bytes_to_device: float = 0
    bytes_to_host: float = 0
    places: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    busy: float | None = None

    def per_batch(self, fewer: Counts, batches: int) -> Counts:
        """What each of so many batches more adds to what was counted of fewer."""
        names = ("synchronisations", "to_device", "to_host", "bytes_to_device", "bytes_to_host")
        more = {name: (getattr(self, name) - getattr(fewer, name)) / batches for name in names}
        places = self.places.copy()
        places.subtract(fewer.places)
        return Counts(**more, places=Counter({place: n / batches for place, n in places.items() if n}))


def count(work: Callable[[], object]) -> Counts:
    """What some work does, in all threads."""
    return _count_real(work) if torch.cuda.is_available() else _count_fake(work)


def _count_fake(work: Callable[[], object]) -> Counts:
    start = time.perf_counter()
    with fake_cuda() as device:
        work()
    traffic = device.traffic
    return Counts(
        traffic.count("wait"), traffic.count("to device"), traffic.count("to host"), traffic.bytes("to device"),
        traffic.bytes("to host"), traffic.places("wait"), time.perf_counter() - start,
    )  # fmt: skip


def _count_real(work: Callable[[], object]) -> Counts:
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    copies: dict[str, list[int]] = {"HtoD": [], "DtoH": []}
    for event in events:
        for direction, sizes in copies.items():
            if event.get("cat") == "gpu_memcpy" and direction in event["name"]:
                sizes.append(int(event.get("args", {}).get("bytes", 0)))
    waits = sum(event.get("cat") == "cuda_runtime" and event["name"] in _WAITING for event in events)
    spans = [
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")
    ]
    return Counts(
        waits - 1, len(copies["HtoD"]), len(copies["DtoH"]), sum(copies["HtoD"]), sum(copies["DtoH"]), Counter(),
        seconds, _union(spans) / 1e6 / seconds,
    )  # fmt: skip


def _union(spans: list[tuple[float, float]]) -> float:
    """The length of what the spans cover."""
    covered, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return covered


def per_batch(
    methods: list[str], pictures: bool, folder: Path, network: str = NETWORK, size: int = SIZE, batch: int = BATCH
) -> Counts:
    """What one batch of a run adds, on `cuda:0`."""
    images = folder / "images"
    if not images.exists():
        make_photographs(images, 4 * batch, (160, 120))

    def explain(batches: int) -> Counts:
        settings: dict[str, Any] = {
            "image_path": [str(images)], "output_dir": str(folder / "out"), "overwrite": True, "limit": batches * batch,
            "model": network, "input_size": str(size), "method": methods, "device": "cuda:0", "workers": "2",
            "batch_size": str(batch), "save": ["overlay"] if pictures else ["none"],
        }  # fmt: skip
        config = RunConfig(**settings)
        return count(lambda: run(config))

    explain(1)  # what is kept for all runs of a process
    few = explain(2)
    return explain(4).per_batch(few, 2)


def main() -> None:
    """Measure and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    real = torch.cuda.is_available()
    parser.add_argument("--network", default=NETWORK if real else "factory:tests.tiny:build")
    parser.add_argument("--input-size", type=int, default=SIZE if real else 64)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--places", action="store_true", help="also where (on the made-up device)")
    given = parser.parse_args()
    print(torch.cuda.get_device_name(0) if real else "the made-up device", f"batches of {given.batch_size}", sep=", ")
    print("| methods | pictures | synchronisations | to the device | KiB | to the host | KiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, methods in CASES.items():
            for pictures in (False, True):
                one = per_batch(methods, pictures, Path(folder), given.network, given.input_size, given.batch_size)
                cells = [
                    name, "yes" if pictures else "no", f"{one.synchronisations:g}", f"{one.to_device:g}",
                    f"{one.bytes_to_device / 1024:.1f}", f"{one.to_host:g}", f"{one.bytes_to_host / 1024:.1f}",
                ]  # fmt: skip
                print(f"| {' | '.join(cells)} |", flush=True)
                for place, number in one.places.most_common() if given.places else ():
                    print(f"    {number:g} {place}", flush=True)


if __name__ == "__main__":
    main()
