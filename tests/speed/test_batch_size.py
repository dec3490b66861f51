"""How many images fit, on a device whose memory is made up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from camcli.config.settings import RunConfig
from camcli.errors import DeviceError
from camcli.pipeline import setup
from camcli.speed.batch_size import FIRST, MOST, SHARE, fitting_batch


class Device:
    """So much memory, of which the model takes some and each image some more."""

    def __init__(self, free: int, each: int, fixed: int = 0) -> None:
        self.free, self.each, self.fixed = free, each, fixed
        self.tried: list[int] = []

    def peak(self, size: int) -> int:
        self.tried.append(size)
        taken = self.fixed + size * self.each
        if taken > self.free:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return taken


@pytest.mark.parametrize(
    ("each", "expected"), [(1, MOST), (10, 32), (20, FIRST), (60, FIRST), (100, 8), (300, 2), (1000, 1)]
)
def test_what_fits_is_taken(each: int, expected: int) -> None:
    device = Device(1000, each)
    size = fitting_batch(device.peak, device.free)
    assert size == expected
    assert size <= FIRST or size * each <= SHARE * device.free


def test_from_few_upwards() -> None:
    device = Device(10_000, 50)
    assert fitting_batch(device.peak, device.free) == 64
    assert device.tried == [16, 32, 64]


def test_memory_that_runs_out_on_the_way_halves() -> None:
    device = Device(1000, 20)
    assert fitting_batch(device.peak, 10**9) == 32  # others took what was free a moment ago
    assert device.tried == [16, 32, 64, 32]


def test_not_even_one() -> None:
    device = Device(10, 20)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fitting_batch(device.peak, device.free)
    assert device.tried == [16, 8, 4, 2, 1]


@pytest.mark.parametrize("form", [torch.cuda.OutOfMemoryError, RuntimeError])
def test_a_device_without_room_for_one_image_is_named(
    form: type[RuntimeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> int:
        raise form("CUDA error: out of memory")

    monkeypatch.setattr(setup, "cuda_batch", no_room)
    device = torch.device("cuda:0")
    model = SimpleNamespace(device=device, name="large", preprocessing=None, passes=None, is_alone=False)
    with pytest.raises(DeviceError, match="one image does not fit into its memory with model large"):
        setup._batch_size(RunConfig(image_path=("x",)), None, model, None)  # type: ignore[arg-type]
