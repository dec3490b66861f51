"""Which device a run uses and in which precision: asked for or found, never silently another."""

from __future__ import annotations

import os
import platform

import torch

from camcli.errors import DeviceError


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on an accelerator or on the host; torch has no one type for it."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether a device refuses all further work: after a CUDA error every later call in this process fails as well."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)


_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")


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
