"""The passes of a batch as a CUDA graph, on a made-up device that records operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from camcli.config.settings import RunConfig
from camcli.device import to_device
from camcli.pipeline.at_speed import at_speed
from camcli.pipeline.setup import Setup, prepare
from camcli.speed.cuda_graph import record
from tests.fake_cuda import FakeDevice, fake_cuda

HERE = torch.device("cuda")


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    with fake_cuda() as device:
        yield device


def examples() -> list[Tensor]:
    return [torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(i)).to(HERE) for i in range(2)]


def differentiated(inputs: Tensor) -> list[Tensor]:
    leaf = inputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad((leaf.sigmoid() ** 2).sum(), leaf)
    return [gradient, inputs.mean((2, 3)).argmax(1)]


def test_a_graph_gives_the_same_results_for_other_inputs(device: FakeDevice) -> None:
    graph, reason = record(differentiated, examples())
    assert graph is not None, reason
    other = torch.randn(4, 3, 8, 8).to(HERE)
    first = graph(other)
    assert all(torch.equal(a, b) for a, b in zip(first, differentiated(other), strict=True))
    kept = [one.cpu() for one in first]
    graph(examples()[0])
    assert all(torch.equal(a.cpu(), b) for a, b in zip(first, kept, strict=True))
    assert not graph.fits(other[:3])
    assert not graph.fits(other.half())


def constant(inputs: Tensor) -> list[Tensor]:
    """Computes with numbers of the host, which a graph would keep."""
    return [inputs * to_device(torch.tensor([next(COUNT)], dtype=torch.float32), HERE)]


def waiting(inputs: Tensor) -> list[Tensor]:
    return [inputs * float(inputs.sum())]


COUNT = iter(range(1, 1000))


@pytest.mark.parametrize(
    ("run", "reason"), [(constant, "it gives other results"), (waiting, "called a synchronizing CUDA operation")]
)
def test_what_cannot_be_recorded_is_said(
    run: Callable[[Tensor], list[Tensor]], reason: str, device: FakeDevice
) -> None:
    graph, found = record(run, examples())
    assert graph is None
    assert found == reason
    assert not device.traffic.forbids_waiting
    assert not device.stream_is_left


def test_memory_that_runs_out_leaves_the_passes_as_they_are_written(device: FakeDevice) -> None:
    calls = []

    def full(inputs: Tensor) -> list[Tensor]:
        calls.append(1)
        if len(calls) == 4:  # while recording
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [inputs * 2]

    graph, reason = record(full, examples())
    assert graph is None
    assert reason == "memory ran out"
    assert not device.stream_is_left


def setup_of(photos: Path, **settings: Any) -> Setup:
    stated: dict[str, Any] = {
        "image_path": (str(photos),), "model": "factory:tests.tiny:build", "layer": ("features",), "input_size": "64",
        "device": "cuda", "batch_size": "4", "precision": "fp32",
    }  # fmt: skip
    return prepare(RunConfig(**stated | settings))


@pytest.mark.parametrize(
    ("settings", "is_recorded", "note"),
    [
        ({"method": ("gradcam", "layercam", "gradcam++"), "target": "top:2"}, True, False),
        ({"target": "label"}, False, False),
        ({"method": ("gradcam", "scorecam")}, False, False),
        ({"method": ("eigencam",)}, False, True),
        ({"method": ("randomcam",)}, False, False),
        ({"aug_smooth": True}, False, False),
    ],
)
def test_a_run_records_its_pass_where_the_methods_allow(
    settings: dict[str, Any], is_recorded: bool, note: bool, device: FakeDevice, samples: Path
) -> None:
    setup = setup_of(samples, **settings)
    with setup.model.prepared(), at_speed(setup) as faster:
        assert (faster.recorded is not None) == is_recorded
        said = any("are not recorded as a CUDA graph" in line for line in faster.tuning.notes)
        assert said == note
