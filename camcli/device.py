"""Which device a run uses, in which precision, and how many images fit into its memory, without fallback."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from camcli.errors import DeviceError, is_out_of_memory

In = TypeVar("In")
Out = TypeVar("Out")


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the device asked for is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"--device {name}: give auto, cpu, cuda, cuda:1 or mps.")
    if device.type == "cuda":
        return _cuda(name, device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {name}: this machine has no MPS device. Use --device cpu.")
    return device


def _cuda(name: str, device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "no CUDA device was found" if built else "this torch is built without CUDA"
        raise DeviceError(
            f"--device {name} (--use-cuda): {why}. Leave the flag out to run on the CPU"
            + (", or check the driver with nvidia-smi." if built else ", or install a CUDA build of torch.")
        )
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise DeviceError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA device(s), from cuda:0.")
    return torch.device("cuda", index)


def device_name(device: torch.device) -> str:
    """What people call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def choose_precision(name: str, device: torch.device) -> str:
    """``auto`` is bf16 autocast on CUDA and fp32 elsewhere."""
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" else "fp32"


def in_float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on the CPU where its device has none."""
    return tensor.double() if tensor.device.type != "mps" else tensor.cpu().double()


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. On CUDA nothing is waited for: torch has copied the tensor on return."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def pad(batch: list[In], size: int) -> list[In]:
    """A batch, not empty, filled to ``size`` by repeating its last item."""
    return batch + batch[-1:] * (size - len(batch))


@dataclass
class BatchLimit:
    """How many items go through the model at once.

    Attributes:
        size: items at once; halved, and not raised again, when memory runs out.
    """

    size: int

    def fit(self, work: Callable[[int], Out], most: int | None = None) -> Out:
        """The result of ``work(size)``; where memory runs out, with half the size, and so on down to 1.

        Args:
            work: called with a number of items.
            most: how many items it may be, if fewer than ``size``.
        """
        size = min(self.size, most or self.size)
        while True:
            try:
                return work(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Outside the handler: until here the exception holds the frames, and so the tensors, of what failed.
            torch.cuda.empty_cache()
            self.size = size = (size + 1) // 2

    def run(self, count: int, work: Callable[[slice], Out], most: int | None = None) -> Iterator[Out]:
        """The results of ``work`` on parts of ``count`` items; the last part may be shorter than the others."""
        return self._run(count, lambda part, size: work(part), min(count, most or count))

    def run_padded(
        self, items: Sequence[In], work: Callable[[list[In], int], Out], most: int | None = None
    ) -> Iterator[Out]:
        """The results of ``work`` on batches of equal size, the last one filled by repeating its last item.

        Another batch size changes the last bits of a result; other neighbours in a batch of the same size do not.

        Args:
            items: one or more.
            work: takes a batch, and how many of its items count.
            most: as in :meth:`fit`.
        """

        def padded(part: slice, size: int) -> Out:
            batch = list(items[part])
            return work(pad(batch, size), len(batch))

        return self._run(len(items), padded, most)

    def _run(self, count: int, work: Callable[[slice, int], Out], most: int | None) -> Iterator[Out]:
        def work_from(start: int, size: int) -> tuple[int, Out]:
            stop = min(start + size, count)
            return stop, work(slice(start, stop), size)

        start = 0
        while start < count:
            start, result = self.fit(partial(work_from, start), most)
            yield result
