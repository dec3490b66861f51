"""Tensors that claim to be on an MPS device, which has no float64; their data are on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

MPS = torch.device("mps", 0)


class OnMps(Tensor):
    """A tensor of the device; what is computed from it is of the device too."""


class FakeMps(TorchFunctionMode):
    """Inside, such tensors say ``mps``, move to the CPU and back, and refuse float64 and tensors of the CPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__self__", None) is Tensor.device:
            return MPS if isinstance(args[0], OnMps) else func(*args)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        is_here = any(isinstance(tensor, OnMps) for tensor in tensors)
        name = getattr(func, "__name__", "")
        goal = _destination(name, args, kwargs)
        if is_here and name not in ("to", "copy_", "__get__", "__set__") and _mixes(tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device, {name} got mps:0 and cpu")
        args, kwargs = tree_map(_without_device, (tuple(args), kwargs))
        result = func(*args, **kwargs)
        goes = MPS if goal is None and is_here else goal
        return result if goes is None else tree_map(lambda leaf: _moved(leaf, goes), result)


def _destination(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.device | None:
    """The device that a call names."""
    if name in ("cpu", "numpy"):
        return torch.device("cpu")
    named = [*args, kwargs.get("device")] if name != "__get__" else []
    for each in named:
        if isinstance(each, torch.device) or (isinstance(each, str) and each in ("cpu", "mps", "mps:0")):
            return torch.device(each)
    if name == "to" and len(args) > 1 and isinstance(args[1], Tensor):
        return MPS if isinstance(args[1], OnMps) else torch.device("cpu")
    return None


def _mixes(tensors: Sequence[Tensor]) -> bool:
    return any(not isinstance(tensor, OnMps) and tensor.dim() for tensor in tensors)


def _without_device(leaf: Any) -> Any:
    is_fake = (isinstance(leaf, torch.device) and leaf.type == "mps") or (isinstance(leaf, str) and leaf[:3] == "mps")
    return torch.device("cpu") if is_fake else leaf


def _moved(leaf: Any, device: torch.device) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if device.type != "mps":
        return leaf.as_subclass(Tensor)
    if leaf.dtype == torch.float64:
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
            "Please use float32 instead."
        )
    if isinstance(leaf, OnMps):
        return leaf
    if leaf.is_leaf and leaf.requires_grad:  # made with ``requires_grad=True``
        return leaf.detach().as_subclass(OnMps).requires_grad_()
    return leaf.as_subclass(OnMps)


def moved(module: nn.Module) -> nn.Module:
    """The module with its parameters and buffers on the device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(parameter.detach().as_subclass(OnMps), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.as_subclass(OnMps)
    return module
