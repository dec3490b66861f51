"""How many images go through the model at once on CUDA: a fixed number that only shrinks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from camcli.config.settings import RunConfig
from camcli.device import require_memory
from camcli.errors import DeviceError
from camcli.images import Preprocessing
from camcli.pipeline import setup
from camcli.speed.batch_size import LARGEST, fitting_batch
from tests.out_of_memory import FORMS


class Device:
    """So many images fit."""

    def __init__(self, most: int, error: BaseException) -> None:
        self.most, self.error = most, error
        self.tried: list[int] = []

    def rehearse(self, size: int) -> None:
        self.tried.append(size)
        if size > self.most:
            raise self.error


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("most", "tried"),
    [
        (1000, [128]), (128, [128]), (127, [128, 64]), (20, [128, 64, 32, 16]),
        (1, [128, 64, 32, 16, 8, 4, 2, 1]),
    ],
)  # fmt: skip
def test_it_is_halved_until_it_fits_and_no_size_is_tried_twice(
    most: int, tried: list[int], error: BaseException
) -> None:
    device = Device(most, error)
    assert fitting_batch(device.rehearse) == tried[-1]
    assert device.tried == tried
    assert tried[0] == LARGEST


def test_not_even_one() -> None:
    device = Device(0, FORMS["driver"])
    with pytest.raises(torch.AcceleratorError):
        fitting_batch(device.rehearse)
    assert device.tried[-1] == 1


def chosen(device: Device, monkeypatch: pytest.MonkeyPatch) -> int:
    """What a run takes whose model is on a CUDA device of that kind; the noise stays on the CPU."""
    model = SimpleNamespace(
        device=torch.device("cuda:0"), name="large", preprocessing=Preprocessing(3, 4, 4), passes=None, is_alone=False
    )
    explainer: Any = SimpleNamespace(rehearse=lambda inputs: device.rehearse(len(inputs)))
    monkeypatch.setattr(setup, "noise", lambda preprocessing, count, _: torch.zeros(count, 1))
    return setup._batch_size(RunConfig(image_path=("x",)), explainer, model, None)  # type: ignore[arg-type]


def test_other_processes_on_the_device_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the free memory is not asked for")

    for name in ("mem_get_info", "memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, asked)
    assert chosen(Device(40, FORMS["allocator"]), monkeypatch) == 32


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
def test_a_device_without_room_for_one_image_is_named(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(DeviceError, match=r"--device cuda:0: memory ran out with model large.*\(--device cpu\)"),
        require_memory(torch.device("cuda:0"), "large"),
    ):
        chosen(Device(0, error), monkeypatch)
