"""A device whose memory runs out: smaller batches, everything explained and drawn, and it says so."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from camcli.device import BatchLimit
from tests.gpu.runs import explain

pytestmark = pytest.mark.real


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Limits the memory of this process on the device, in MiB beside what is in use."""
    gc.collect()
    torch.cuda.empty_cache()

    def limit_to(mebibytes: int) -> None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + (mebibytes << 20)) / total, 0)

    yield limit_to
    torch.cuda.set_per_process_memory_fraction(1.0, 0)
    gc.collect()
    torch.cuda.empty_cache()


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, crops: Path, limit: Callable[[int], None]) -> None:
    settings: dict[str, Any] = {"precision": "fp32", "batch_size": "512", "save": ["overlay", "raw"]}
    enough = explain(crops, tmp_path / "enough", **settings)
    gc.collect()
    torch.cuda.empty_cache()
    limit(300)
    few = explain(crops, tmp_path / "few", **settings)
    assert few.summary.counts == enough.summary.counts
    assert few.artefacts.keys() == enough.artefacts.keys()
    assert all("after running out of memory" in str(item) for item in few.items)
    assert not any("after running out of memory" in str(item) for item in enough.items)


def test_slow_methods_recover(tmp_path: Path, crops: Path, limit: Callable[[int], None]) -> None:
    limit(300)
    run = explain(
        crops, tmp_path / "out", precision="fp32", batch_size="64", save=["overlay"], limit=4,
        method=["gradcam", "ablationcam", "scorecam", "fullgrad", "opticam"], option=["opticam.steps=3"],
    )  # fmt: skip
    assert run.summary.counts["ok"] == 4


def test_the_automatic_batch_size_fits(tmp_path: Path, crops: Path, limit: Callable[[int], None]) -> None:
    limit(500)
    run = explain(crops, tmp_path / "out", precision="fp32", batch_size="auto", save=["overlay"])
    assert run.summary.counts["ok"] == 24


def test_what_failed_is_freed_before_it_is_tried_again() -> None:
    """The activations of the pass that failed are not alive in the next one."""
    before, alive = torch.cuda.memory_allocated(), []

    def work(size: int) -> int:
        alive.append(torch.cuda.memory_allocated() - before)
        kept = [torch.empty(1 << 20, device="cuda") for _ in range(4)]
        if size > 1:
            torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
        return len(kept)

    assert BatchLimit(8).fit(work) == 4
    assert alive == [0, 0, 0, 0]


def test_no_memory_is_kept_after_a_run(tmp_path: Path, crops: Path) -> None:
    settings: dict[str, Any] = {"method": ["gradcam", "scorecam"], "save": ["overlay"], "batch_size": "8"}
    explain(crops, tmp_path / "first", **settings)
    gc.collect()
    before = torch.cuda.memory_allocated()
    for number in range(3):
        explain(crops, tmp_path / str(number), **settings)
        gc.collect()
    assert torch.cuda.memory_allocated() - before < 8 << 20
