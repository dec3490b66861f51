"""Which device a run uses, and in which precision, without fallback."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from camcli.device.number_format import WORKSPACE
from camcli.errors import DeviceError


def choose_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the device asked for is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return _cuda(name, torch.device("cuda:0"))
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
    os.environ.setdefault(*WORKSPACE)  # read when CUDA starts
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
    """``auto`` is bf16 autocast on CUDA and fp32 elsewhere.

    Raises:
        DeviceError: the device has no such format.
    """
    if name == "tf32" and not _has_tf32(device):
        raise DeviceError(
            f"--precision tf32: {device} has no TensorFloat-32, which NVIDIA GPUs have from Ampere on. "
            "Take fp32 or bf16."
        )
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" else "fp32"


def _has_tf32(device: torch.device) -> bool:
    is_of_nvidia = device.type == "cuda" and torch.version.hip is None
    return is_of_nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def use_device(device: torch.device) -> Iterator[None]:
    """Inside, a CUDA device is the current one of this thread.

    What names no device (pinned memory, a library's own kernels) would otherwise start a context on the first one.
    """
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        yield


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
