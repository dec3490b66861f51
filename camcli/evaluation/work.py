"""What a map costs by the work that is done for it, counted and not timed: the same on every start.

The work of an operation is its floating point operations (for convolutions and products of matrices) plus
:data:`MOVED` for each number that it reads or writes. Operations alone would count the wide, memory-bound layers at a
network's beginning for too little, and so whatever runs behind them again for too much.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from camcli.capture import noise
from camcli.explainer import Explainer
from camcli.models import Model

MOVED = 20
"""Floating point operations in the time that a number is moved to or from memory, about, on a CPU and on a GPU."""


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the work of what runs inside, backward passes included.

    Attributes:
        operations: floating point operations.
        moved: numbers read and written.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: int = 0
        self.moved: int = 0

    @property
    def work(self) -> int:
        return self.operations + MOVED * self.moved

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        is_operator = isinstance(func, torch._ops.OpOverload)
        if is_operator and func._overloadpacket not in flop_registry and func is not torch.ops.prim.device.default:
            with self:  # in inference mode, composed operations come as a whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if is_operator:
            if (count := flop_registry.get(func._overloadpacket)) is not None:
                self.operations += count(*args, **kwargs, out_val=out)
            if not func.is_view:
                self.moved += _numbers(out) + _numbers((args, kwargs))
        return out


def _numbers(values: Any) -> int:
    """How many numbers tensors hold in memory; those of an expanded tensor are there once."""
    tensors = (value for value in pytree.tree_leaves(values) if isinstance(value, Tensor))
    return sum(tensor.numel() for tensor in tensors if tensor.ndim and 0 not in tensor.stride())


def passes_of_map(explainer: Explainer, model: Model, targets: int) -> float:
    """What an explainer does for one image, in forward passes of the model, to a tenth; at least 1.

    Args:
        explainer: of one method.
        model: prepared.
        targets: classes explained in each image.
    """
    inputs = noise(model.preprocessing, 1, model.device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        forward = _work(lambda: model.module(inputs))
    classes = torch.arange(min(targets, model.num_classes or 1), device=inputs.device)[None]
    own = _work(lambda: explainer(inputs, lambda _: classes, [0]))
    return max(1.0, round(own / max(forward, 1), 1))


def _work(run: Callable[[], object]) -> int:
    counter = WorkCounter()
    with counter:
        run()
    return counter.work
