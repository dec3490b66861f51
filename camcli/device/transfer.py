"""Tensors to and from an accelerator, without waiting for it where that can be avoided."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.errors import is_out_of_memory


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. A copy to CUDA is only started: what is computed there next waits for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return empty_on_host(tensor.shape, tensor.dtype, pinned=True).copy_(tensor).to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """A tensor on the CPU. A copy from CUDA is only started: it is complete when its stream has got so far."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    return empty_on_host(tensor.shape, tensor.dtype, pinned=True).copy_(tensor, non_blocking=True)


def in_float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on the CPU where its device has none."""
    return tensor.double() if tensor.device.type != "mps" else tensor.cpu().double()


def empty_on_host(shape: Sequence[int], dtype: torch.dtype, *, pinned: bool) -> torch.Tensor:
    """An uninitialised tensor on the host; pinned for fast copies from and to CUDA, if there is memory to pin."""
    if pinned:
        try:
            return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
    return torch.empty(tuple(shape), dtype=dtype)
