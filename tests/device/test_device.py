"""How many items fit into memory at once, and on which device a thread works."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import camcli
from camcli.device import BatchLimit, empty_on_host, free_cached_memory, require_memory, synchronize, use_device
from camcli.errors import DeviceError
from camcli.pipeline.batching import settings_of_this_thread
from camcli.speed import compilation, forward_rate
from tests.out_of_memory import FORMS, NOT

SECOND = torch.device("cuda:1")


class Pages:
    """Something that takes memory."""


def test_memory_that_runs_out_halves_the_size_for_good() -> None:
    tried: list[int] = []

    def work(part: slice) -> list[int]:
        tried.append(part.stop - part.start)
        if tried[-1] > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return list(range(10)[part])

    limit = BatchLimit(9)
    assert [i for part in limit.run(5, work) for i in part] == [0, 1, 2, 3, 4]
    assert tried == [5, 3, 2, 2, 1]
    assert limit.size == 2
    assert [i for part in limit.run(3, work) for i in part] == [0, 1, 2]
    assert tried[5:] == [2, 1]


def test_fewer_at_once_for_one_piece_of_work_leave_the_size_as_it_is() -> None:
    limit = BatchLimit(8)
    assert list(limit.run(8, lambda part: part.stop - part.start, most=3)) == [3, 3, 2]
    assert limit.size == 8


def test_batches_are_filled_with_their_last_item() -> None:
    batches = list(BatchLimit(3).run_padded("abcde", lambda batch, count: (batch, count)))
    assert batches == [(["a", "b", "c"], 3), (["d", "e", "e"], 2)]
    assert list(BatchLimit(3).run_padded("", lambda batch, count: (batch, count))) == []


def test_halved_batches_are_filled_up_to_the_smaller_size() -> None:
    def work(batch: list[str], count: int) -> tuple[str, int]:
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")
        return "".join(batch), count

    limit = BatchLimit(4)
    assert list(limit.run_padded("abc", work)) == [("ab", 2), ("cc", 1)]
    assert limit.size == 2


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("CUDA error: device-side assert triggered")])
def test_other_errors_come_out_at_once(error: Exception) -> None:
    tried: list[int] = []

    def work(size: int) -> None:
        tried.append(size)
        raise error

    with pytest.raises(type(error)):
        BatchLimit(8).fit(work)
    assert tried == [8]


def test_one_item_that_does_not_fit_is_an_error() -> None:
    tried: list[int] = []

    def work(size: int) -> None:
        tried.append(size)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        BatchLimit(4).fit(work)
    assert tried == [4, 2, 1]


def test_nothing_of_an_attempt_is_held_while_the_next_one_runs() -> None:
    earlier: list[weakref.ref[Pages]] = []

    def work(size: int) -> int:
        assert all(pages() is None for pages in earlier)
        pages = Pages()
        earlier.append(weakref.ref(pages))
        if size > 1:
            raise MemoryError
        return size

    assert BatchLimit(4).fit(work) == 1
    assert len(earlier) == 3


class Cuda:
    """Records which device functions of ``torch.cuda`` are called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, object]] = []
        for name in ("synchronize", "set_device"):
            monkeypatch.setattr(torch.cuda, name, lambda device=None, name=name: self.calls.append((name, device)))
        monkeypatch.setattr(torch.cuda, "device", self._device)

    @contextmanager
    def _device(self, device: torch.device) -> Any:
        self.calls.append(("enter", device))
        yield
        self.calls.append(("leave", device))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def test_timers_wait_for_the_device_that_they_measure(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Any = SimpleNamespace(device=SECOND, is_cuda=True)
    module: Any = lambda inputs: None  # noqa: E731
    forward_rate._seconds(module, inputs)
    assert cuda.calls == [("synchronize", SECOND)]
    monkeypatch.setattr(compilation, "capture", lambda *_, **__: None)
    compilation._seconds(module, "layer", inputs)
    assert set(cuda.calls) == {("synchronize", SECOND)}
    assert len(cuda.calls) > 2


def test_waiting_on_other_devices(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waits.append("mps"))
    synchronize(torch.device("cpu"))
    assert (waits, cuda.calls) == ([], [])
    synchronize(torch.device("mps"))
    assert (waits, cuda.calls) == (["mps"], [])


def test_the_models_device_is_the_current_one_while_it_is_used(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    with use_device(torch.device("cpu")), use_device(torch.device("mps")):
        assert cuda.calls == []
    model = camcli.load_model("factory:tests.tiny:build", input_size=(64, 64))
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, device: cuda.calls.append(("to", device)))
    with replace(model, device=SECOND).prepared():
        assert cuda.calls == [("enter", SECOND), ("to", SECOND)]
    assert cuda.calls[2:] == [("to", torch.device("cpu")), ("leave", SECOND)]


def test_other_threads_work_on_the_current_device(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    settings = settings_of_this_thread()  # CUDA is not in use: to ask for its device would start it
    with ThreadPoolExecutor(1, initializer=settings) as thread:
        thread.submit(int).result()
    assert cuda.calls == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with ThreadPoolExecutor(1, initializer=settings_of_this_thread()) as thread:
        thread.submit(int).result()
    assert cuda.calls == [("set_device", 1)]


def test_freeing_memory_starts_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("CUDA was started"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append("mps"))
    free_cached_memory()
    assert freed == []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cuda"))
    free_cached_memory()
    assert freed == ["cuda", "mps"]


@pytest.mark.parametrize("error", FORMS.values(), ids=FORMS)
def test_memory_that_cannot_be_pinned_is_not_pinned(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    empty, asked = torch.empty, []

    def full(*size: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        asked.append(pin_memory)
        if pin_memory:
            raise error
        return empty(*size, **more)

    monkeypatch.setattr(torch, "empty", full)
    assert empty_on_host((2, 3), torch.uint8, pinned=True).shape == (2, 3)
    assert asked == [True, False]
    error = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(RuntimeError, match="device-side"):
        empty_on_host((2, 3), torch.uint8, pinned=True)


def test_other_errors_before_the_first_image_come_out_as_they_are() -> None:
    for error in NOT:
        with pytest.raises(type(error)) as raised, require_memory(SECOND, "net"):
            raise error
        assert raised.value is error
    with (
        pytest.raises(DeviceError, match=r"--device cpu: .*smaller --input-size\.$"),
        require_memory(torch.device("cpu"), "net"),
    ):
        raise MemoryError
