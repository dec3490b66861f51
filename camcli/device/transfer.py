"""Tensors to and from an accelerator, without waiting for it where that can be avoided."""

from __future__ import annotations

import torch
from torch import Tensor

from camcli.errors import is_out_of_memory


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. A copy to CUDA is only started: what is computed there next waits for it."""
    if device.type != "cuda":
        return tensor.to(device)
    pinned = pinned_empty(tensor.shape, tensor.dtype)
    return tensor.to(device) if pinned is None else pinned.copy_(tensor).to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """A tensor on the CPU. A copy from CUDA is only started: it is complete when its stream has got so far."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    pinned = pinned_empty(tensor.shape, tensor.dtype)
    return tensor.cpu() if pinned is None else pinned.copy_(tensor, non_blocking=True)


def pinned_empty(shape: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
    """Memory of the host that a CUDA device copies from and to by itself; None where there is no more of it."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return None
