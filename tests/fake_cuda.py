"""A device that is not there: its tensors say `cuda:0`, and are computed by the CPU.

Inside :func:`fake_cuda`, torch has one CUDA device. Tensors there hold real data, so that results can be compared with
those of the CPU, and behave as on a real device where that matters to a program:

- an operation that mixes them with tensors of the CPU fails (numbers and index tensors of the CPU are taken), and so
  does `numpy()`;
- copies between host and device are counted, and so is whatever makes the host wait for the device;
- operations can be recorded as a graph, which fails where one waits for the device;

:func:`fake_mps` is the same for MPS, which has no 64-bit floats.

What it does not show: other rounding, races between streams, memory that runs out, what autocast does (it has no
effect on these tensors).
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from camcli.methods import philox

CUDA, MPS, CPU = torch.device("cuda", 0), torch.device("mps", 0), torch.device("cpu")
PACKAGE = str(Path(__file__).resolve().parents[1] / "camcli")
_MEMORY = 8 << 30

# Operations that wait for a number of the device, or for an error code.
_WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::bincount", "aten::repeat_interleave", "aten::_linalg_svd",
    "aten::_linalg_eigh", "aten::linalg_eig", "aten::_linalg_check_errors", "aten::histc",
}  # fmt: skip
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
_TURNED = {"aten::t_", "aten::transpose_", "aten::squeeze_", "aten::unsqueeze_"}
_NUMBERS = {"aten::fill", "aten::fill_", "aten::masked_fill", "aten::masked_fill_"}  # take a number of the CPU


@dataclass(frozen=True)
class Event:
    """Something counted.

    Attributes:
        kind: ``to device``, ``to host`` or ``wait``.
        operation: what did it.
        place: the innermost line of the package, `methods/base.py:12`.
        thread: its name.
        bytes: copied.
    """

    kind: str
    operation: str
    place: str
    thread: str
    bytes: int = 0


@dataclass
class Traffic:
    """What went between host and device."""

    events: list[Event] = field(default_factory=list)
    forbids_waiting: bool = False

    def add(self, kind: str, operation: str, size: int = 0) -> None:
        if kind == "wait" and self.forbids_waiting:
            raise RuntimeError("called a synchronizing CUDA operation")
        self.events.append(Event(kind, operation, _place(), threading.current_thread().name, size))

    def count(self, kind: str, thread: str = "") -> int:
        """How often, in threads whose names begin so."""
        return sum(event.kind == kind and event.thread.startswith(thread) for event in self.events)

    def bytes(self, kind: str, thread: str = "") -> int:
        return sum(event.bytes for event in self.events if event.kind == kind and event.thread.startswith(thread))

    def places(self, kind: str) -> Counter[str]:
        """How often by operation and place."""
        return Counter(f"{e.operation} at {e.place} ({e.thread})" for e in self.events if e.kind == kind)


def _place() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        if (name := frame.f_code.co_filename).startswith(PACKAGE):
            return f"{name[len(PACKAGE) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


class DeviceTensor(Tensor):
    """A tensor of the device.

    To torch's own code it is on the device `meta`, which no engine of autograd has a thread for.
    """

    content: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> DeviceTensor:
        tensor: DeviceTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype,
            layout=real.layout, device="meta",
        )  # fmt: skip
        tensor.content = real
        return tensor

    def __init__(self, real: Tensor) -> None:
        super().__init__()

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _device().compute(func, args, kwargs or {})

    device = property(lambda self: _device().device)  # type: ignore[assignment]
    is_cuda = property(lambda self: _device().device == CUDA)  # type: ignore[assignment]
    is_mps = property(lambda self: _device().device == MPS)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda self: False)  # type: ignore[assignment]

    def _data(self) -> Tensor:
        return self.detach()

    def _set_data(self, value: DeviceTensor) -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.content = value.content

    data = property(_data, _set_data)  # type: ignore[assignment]

    def get_device(self) -> int:
        return 0

    def to(self, *target: Any, **more: Any) -> Tensor:
        def is_here(value: Any) -> bool:
            is_device = isinstance(value, (torch.device, str)) or type(value) is int
            return is_device and _is_here(torch.device(value))

        if target and isinstance(target[0], DeviceTensor):
            target = (target[0].dtype, *target[1:])
        if target and target[0] is None:
            target = target[1:]
        if target and is_here(target[0]):
            target = target[1:]
        if "device" in more and (more["device"] is None or is_here(more["device"])):
            del more["device"]
        has_target = [value for value in target if not isinstance(value, bool)]
        if not has_target and not {"dtype", "device", "memory_format", "other"} & more.keys():
            return self.clone() if more.get("copy") else self
        return super().to(*target, **more)

    def __getitem__(self, key: Any) -> Tensor:
        return super().__getitem__(_with_tensors(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(key), value)

    def quantile(self, *args: Any, **more: Any) -> Tensor:
        if self.device != MPS or self.requires_grad:
            return super().quantile(*args, **more)
        # Torch computes places in float64 here, but on MPS, which it does not take this device for.
        return DeviceTensor(self.content.quantile(*args, **more))

    def cuda(self, *_target: Any, **_more: Any) -> Tensor:
        return self

    def numpy(self, **_more: Any) -> Any:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        _device().traffic.add("wait", "tolist")
        _device().traffic.add("to host", "tolist", self.content.nbytes)
        return self.content.detach().tolist()

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    def data_ptr(self) -> int:
        return self.content.data_ptr()

    def untyped_storage(self) -> Any:
        return self.content.untyped_storage()

    def record_stream(self, stream: Any) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy: Tensor = DeviceTensor(self.content.detach().clone())
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            memo[id(self)] = copy.requires_grad_(self.requires_grad)
        result: Tensor = memo[id(self)]
        return result

    def __repr__(self, **_more: Any) -> str:  # type: ignore[override]
        return f"{self.content.detach()!r} on {self.device}"


def _with_tensors(key: Any) -> Any:
    """An index without lists: torch would make tensors of the device `meta` of them, without numbers."""
    if isinstance(key, tuple):
        return tuple(_with_tensors(part) for part in key)
    return torch.as_tensor(key) if isinstance(key, (list, range, np.ndarray)) else key


@cache
def _is_composed(func: Any) -> bool:
    return bool(func._can_decompose())


class FakeDevice:
    """The device.

    Attributes:
        traffic: what was counted.
        device: which one; MPS has no 64-bit floats.
    """

    def __init__(self, device: torch.device) -> None:
        self.traffic, self.device = Traffic(), device
        self._pinned: set[int] = set()
        self.recording: list[Recorded] | None = None
        self.stream_is_left = False  # by a recording that failed, as the current one

    def compute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One operation of torch, on tensors of host and device."""
        if _is_composed(func):
            with _OnDevice():
                return func.decompose(*args, **kwargs)
        leaves = pytree.tree_leaves((args, kwargs))
        here = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
        name, target = func._schema.name, kwargs.get("device")
        is_here = _is_here(target) if target is not None else bool(here)
        if not here and not is_here and not kwargs.get("pin_memory") and "pin" not in name:
            return func(*args, **kwargs)
        if name in ("aten::is_pinned", "aten::_pin_memory", "aten::pin_memory"):
            return self._is_pinned(args[0]) if name == "aten::is_pinned" else self._pin(args[0].clone())
        if name == "aten::_fused_sdp_choice":
            return 0  # the plain formula: the other kernels are those of single devices
        if name in _TURNED and here:
            func(here[0].content, *args[1:], **kwargs)
            assert self.recording is None
            with no_dispatch():
                return func(*args, **kwargs)
        if name == "aten::copy_":
            return self._copy(*args, **kwargs)
        if is_here and kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{self.device.type}' device type for generator but found 'cpu'")
        others = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, DeviceTensor)]
        if any(other.is_meta for other in others):
            raise NotImplementedError(f"{name}: torch made a tensor without numbers by itself")
        if here and others:
            self._check(func, args, others)
        self._count(func, args, kwargs, here)
        real_args, real_kwargs = pytree.tree_map_only(DeviceTensor, lambda tensor: tensor.content, (args, kwargs))
        if target is not None:
            real_kwargs["device"] = CPU
        is_pinned = real_kwargs.pop("pin_memory", None)
        result = func(*real_args, **real_kwargs)
        self._record(func, real_args, real_kwargs, result)
        if is_here:
            own = {id(tensor.content): tensor for tensor in here}
            return pytree.tree_map_only(Tensor, lambda real: self._wrap(real, own), result)
        if is_pinned or (name == "aten::_to_copy" and here and kwargs.get("non_blocking")):
            return self._pin(result)
        return result

    def _wrap(self, real: Tensor, own: dict[int, DeviceTensor]) -> DeviceTensor:
        if real.dtype == torch.float64 and self.device == MPS:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        tensor = own.get(id(real))
        if tensor is None:
            with torch.inference_mode(real.is_inference()):  # a view of an ordinary tensor is one
                return DeviceTensor(real)
        if tensor.shape != real.shape:
            raise NotImplementedError("an operation that gives a tensor another shape is not faked")
        return tensor

    def _check(self, func: Any, args: Any, others: Sequence[Tensor]) -> None:
        """Raise where tensors of both places may not meet."""
        name = func._schema.name
        if name in _INDEXED and isinstance(args[0], DeviceTensor):
            values = args[2] if len(args) > 2 else None
            others = [values] if isinstance(values, Tensor) and not isinstance(values, DeviceTensor) else []
            numbers_allowed = True
        else:
            written = func._schema.is_mutable and not isinstance(args[0], DeviceTensor)
            numbers_allowed = (torch.Tag.pointwise in func.tags or name in _NUMBERS) and not written
        if name == "aten::_pack_padded_sequence" or (numbers_allowed and all(other.ndim == 0 for other in others)):
            return
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {self.device} and cpu! "
            f"({func})"
        )

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any], here: Sequence[Tensor]) -> None:
        name = func._schema.name
        if name == "aten::_to_copy":
            source, target = args[0], kwargs.get("device")
            if target is not None and _is_here(target) != isinstance(source, DeviceTensor):
                self._count_copy(source, _is_here(target), bool(kwargs.get("non_blocking")))
        elif name in _INDEXED and isinstance(args[0], DeviceTensor):
            values = args[2] if len(args) > 2 else None
            for index in (index for index in args[1] if index is not None):
                if not isinstance(index, DeviceTensor):
                    self._count_copy(index, True, False)
                elif index.dtype in (torch.bool, torch.uint8) and not _fills(values):
                    self.traffic.add("wait", name)
        elif name in _WAITING and here:
            self.traffic.add("wait", name)
            if name == "aten::_local_scalar_dense":
                self.traffic.add("to host", name, args[0].content.nbytes)

    def _count_copy(self, source: Tensor, to_device: bool, non_blocking: bool, is_pinned: bool = True) -> None:
        self.traffic.add("to device" if to_device else "to host", "copy", source.numel() * source.element_size())
        # What is copied from memory that is not pinned is first copied on the host, which need not wait for the device.
        if not non_blocking or not (to_device or is_pinned):
            self.traffic.add("wait", "copy")

    def _copy(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        is_here = isinstance(target, DeviceTensor)
        if is_here != isinstance(source, DeviceTensor):
            self._count_copy(source, is_here, non_blocking, self._is_pinned(target))
        real, other = (one.content if isinstance(one, DeviceTensor) else one for one in (target, source))
        self._record(torch.ops.aten.copy_.default, (real, other), {}, real)
        real.copy_(other)
        return target

    def _record(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        if self.recording is not None:
            self.recording.append(Recorded(func, args, kwargs, result))

    def _pin(self, tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        self._pinned.add(address)
        weakref.finalize(tensor.untyped_storage(), self._pinned.discard, address)
        return tensor

    def _is_pinned(self, tensor: Tensor) -> bool:
        return not isinstance(tensor, DeviceTensor) and tensor.untyped_storage().data_ptr() in self._pinned


def _is_here(device: torch.device) -> bool:
    return device.type in (_device().device.type, "meta")


def _fills(values: Any) -> bool:
    """Whether an indexed write is one number, which needs no list of the places."""
    return isinstance(values, Tensor) and values.numel() == 1


_devices: list[FakeDevice] = []


def _device() -> FakeDevice:
    return _devices[-1]


class _OnDevice(TorchDispatchMode):
    """Sends what names the device to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _device().compute(func, args, kwargs or {})


@dataclass(frozen=True)
class Recorded:
    """An operation of a graph, on tensors whose memory stays."""

    func: Any
    args: Any
    kwargs: dict[str, Any]
    result: Any

    def replay(self) -> None:
        again = self.func(*self.args, **self.kwargs)
        for old, new in zip(pytree.tree_leaves(self.result), pytree.tree_leaves(again), strict=True):
            if isinstance(old, Tensor) and new is not old:
                old.copy_(new)


class FakeGraph:
    """Operations that are done again on the same memory."""

    def __init__(self) -> None:
        self.operations: list[Recorded] = []

    def replay(self) -> None:
        with torch.no_grad(), no_dispatch():
            for operation in self.operations:
                operation.replay()


@contextmanager
def _recorded(graph: FakeGraph, *, stream: FakeStream) -> Iterator[None]:
    device = _device()
    device.recording, before = graph.operations, device.traffic.forbids_waiting
    device.traffic.forbids_waiting = device.stream_is_left = True
    try:
        yield
    finally:
        device.recording, device.traffic.forbids_waiting = None, before
    device.stream_is_left = False


def _set_stream(stream: FakeStream) -> None:
    assert isinstance(stream, FakeStream)
    _device().stream_is_left = False


def _set_sync_debug_mode(mode: str | int) -> None:
    _device().traffic.forbids_waiting = mode in ("error", 2)


class FakeStream:
    """A stream that is always through."""

    device, device_index, cuda_stream, priority = CUDA, 0, 0, 0

    def __init__(self, *_arguments: Any, **_more: Any) -> None:
        pass

    def synchronize(self) -> None:
        _device().traffic.add("wait", "stream")

    def query(self) -> bool:
        return True

    def record_event(self, event: FakeEvent | None = None) -> FakeEvent:
        return event or FakeEvent()

    def wait_event(self, event: FakeEvent) -> None:
        assert isinstance(event, FakeEvent)

    def wait_stream(self, stream: FakeStream) -> None:
        assert isinstance(stream, FakeStream)

    def __enter__(self) -> FakeStream:
        _current().append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _current().pop()


class FakeEvent:
    """An event that has happened."""

    def __init__(self, *_arguments: Any, **_more: Any) -> None:
        pass

    def record(self, stream: FakeStream | None = None) -> None:
        pass

    def wait(self, stream: FakeStream | None = None) -> None:
        pass

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        _device().traffic.add("wait", "event")

    def elapsed_time(self, other: FakeEvent) -> float:
        return 1.0


_local = threading.local()


def _current() -> list[FakeStream]:
    if not hasattr(_local, "streams"):
        _local.streams = [FakeStream()]
    streams: list[FakeStream] = _local.streams
    return streams


@contextmanager
def _enter_stream(stream: FakeStream | None) -> Iterator[None]:
    _current().append(stream or _current()[-1])
    try:
        yield
    finally:
        _current().pop()


@contextmanager
def _enter_device(device: Any) -> Iterator[None]:
    yield


def _wait(device: Any = None) -> None:
    _device().traffic.add("wait", "device")


def _always(value: Any) -> Callable[..., Any]:
    return lambda *arguments, **more: value


_OF_TORCH_CUDA: dict[str, Any] = {
    "_lazy_init": _always(None),
    "init": _always(None),
    "is_available": _always(True),
    "is_initialized": _always(True),
    "is_bf16_supported": _always(True),
    "is_current_stream_capturing": _always(False),
    "device_count": _always(1),
    "current_device": _always(0),
    "set_device": _always(None),
    "get_device_name": _always("a device that is not there"),
    "get_device_capability": _always((9, 0)),
    "get_device_properties": _always(
        SimpleNamespace(name="not there", total_memory=_MEMORY, multi_processor_count=1, major=9, minor=0)
    ),
    "mem_get_info": _always((_MEMORY, _MEMORY)),
    # So much that no larger batch than the first is tried.
    "max_memory_allocated": _always(_MEMORY // 2),
    "memory_allocated": _always(0),
    "memory_reserved": _always(0),
    "max_memory_reserved": _always(_MEMORY // 2),
    "memory_stats": _always({}),
    "reset_peak_memory_stats": _always(None),
    "empty_cache": _always(None),
    "manual_seed": _always(None),
    "manual_seed_all": _always(None),
    "set_per_process_memory_fraction": _always(None),
    "default_generators": (torch.Generator(),),
    "synchronize": _wait,
    "Stream": FakeStream,
    "CUDAGraph": FakeGraph,
    "graph": _recorded,
    "set_stream": _set_stream,
    "set_sync_debug_mode": _set_sync_debug_mode,
    "get_sync_debug_mode": lambda: 2 if _device().traffic.forbids_waiting else 0,
    "Event": FakeEvent,
    "stream": _enter_stream,
    "device": _enter_device,
    "current_stream": lambda device=None: _current()[-1],
    "default_stream": lambda device=None: _current()[0],
}


_OF_TORCH_MPS: dict[str, Any] = {
    "_get_default_mps_generator": lambda: torch.default_generator,
    "synchronize": _wait,
    "empty_cache": _always(None),
    "manual_seed": _always(None),
    "current_allocated_memory": _always(0),
    "driver_allocated_memory": _always(0),
    "recommended_max_memory": _always(_MEMORY),
}


@contextmanager
def fake_cuda() -> Iterator[FakeDevice]:
    """Inside, and in the threads that are started inside, torch has a CUDA device."""
    if torch.cuda.is_available():
        pytest.skip("there is a real CUDA device")
    torch._C._ensureCUDADeviceGuardSet()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _OF_TORCH_CUDA.items():
            patch.setattr(torch.cuda, name, value)
        with _running(FakeDevice(CUDA), patch) as device:
            yield device


@contextmanager
def fake_mps() -> Iterator[FakeDevice]:
    """The same with an MPS device instead."""
    if torch.backends.mps.is_available():
        pytest.skip("there is a real MPS device")
    to = Tensor.to

    def to_numbered(tensor: Tensor, *target: Any, **more: Any) -> Tensor:
        """Where torch is not built for it, the device must come with its number."""
        target = tuple(_numbered(value) for value in target)
        return to(tensor, *target, **{name: _numbered(value) for name, value in more.items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.mps, "is_available", cache(_always(True)))  # a cached one, as torch's
        patch.setattr(Tensor, "to", to_numbered)
        for name, value in _OF_TORCH_MPS.items():
            patch.setattr(torch.mps, name, value)
        with _running(FakeDevice(MPS), patch) as device:
            yield device


def _numbered(value: Any) -> Any:
    return MPS if isinstance(value, (str, torch.device)) and torch.device(value).type == "mps" else value


@contextmanager
def _running(device: FakeDevice, patch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    run = threading.Thread.run

    def run_on_device(thread: threading.Thread) -> None:
        with _on_device():
            run(thread)

    patch.setattr(torch.accelerator, "synchronize", _wait)
    patch.setattr(threading.Thread, "run", run_on_device)
    _devices.append(device)
    try:
        with _on_device():
            yield device
    finally:
        _devices.pop()
        philox._quantiles.cache_clear()  # a table of a device that is no more


@contextmanager
def _on_device() -> Iterator[None]:
    # Otherwise torch.tensor(…, device="cuda") asks for the device before the operation can be redirected.
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _OnDevice():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
