"""The states of torch that a run needs around the user's code, set for a while and restored afterwards."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint


@contextmanager
def enable_autograd() -> Iterator[None]:
    """Inside, autograd records; afterwards the modes of this thread are as before, whatever the code inside has set."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def needed_states(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, the passes of a model can be differentiated from any of its layers on.

    Args:
        parts: all modules of the model.
    """
    with ExitStack() as states:
        states.enter_context(enable_autograd())
        states.enter_context(without_checkpointing())
        states.enter_context(_normal_tensors(parts))
        for part in parts:
            if isinstance(part, nn.RNNBase):
                states.enter_context(_without_cudnn(part))
        yield


class _DirectCall:
    """In place of ``CheckpointFunction``."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve_rng_state: bool, *args: Any) -> Any:
        return function(*args)


def _record_nothing(*_: Any, **__: Any) -> Iterator[None]:
    """In place of what surrounds a function whose activations are not kept."""
    yield


_REPLACED = {
    "CheckpointFunction": _DirectCall,
    "_checkpoint_without_reentrant_generator_impl": _record_nothing,
    "_checkpoint_without_reentrant_generator": _record_nothing,
}


@contextmanager
def without_checkpointing() -> Iterator[None]:
    """Inside, ``torch.utils.checkpoint.checkpoint`` calls its function as if it were not there.

    The reentrant kind refuses ``torch.autograd.grad``; the other runs the function again in the backward pass, where
    the graph is not cut at the layer. What is replaced are its parts: models import the function itself by name.
    """
    own = {name: getattr(checkpoint, name) for name in _REPLACED if hasattr(checkpoint, name)}
    try:
        for name in own:
            setattr(checkpoint, name, _REPLACED[name])
        yield
    finally:
        for name, value in own.items():
            setattr(checkpoint, name, value)


@contextmanager
def _normal_tensors(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, parameters and buffers made in inference mode, which no graph may hold, are copies of themselves."""
    replaced: list[tuple[dict[str, Any], str, Tensor]] = []
    copies: dict[int, Tensor] = {}
    for part in parts:
        for tensors in _tensors_of(part):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.is_inference():
                    replaced.append((tensors, name, tensor))
    try:
        for tensors, name, tensor in replaced:
            if id(tensor) not in copies:
                copy = tensor.clone()
                copies[id(tensor)] = nn.Parameter(copy, False) if isinstance(tensor, nn.Parameter) else copy
            tensors[name] = copies[id(tensor)]
        yield
    finally:
        for tensors, name, tensor in replaced:
            tensors[name] = tensor


def _tensors_of(part: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    return part._parameters, part._buffers


@contextmanager
def _without_cudnn(part: nn.RNNBase) -> Iterator[None]:
    """Inside, a recurrent network does not run in cuDNN, which has no backward pass in evaluation mode."""
    cudnn, before_calls = torch.backends.cudnn, list[bool]()

    # Not `cudnn.flags`, which also sets the arithmetic and the choice of kernels.
    def enter(*_: Any) -> None:
        before_calls.append(cudnn.enabled)
        cudnn.enabled = False

    def leave(*_: Any) -> None:
        if before_calls:  # it is called as well where what comes before the call failed
            cudnn.enabled = before_calls.pop()

    before = part.register_forward_pre_hook(enter)
    after = part.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()
