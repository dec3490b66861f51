"""A model changed for a while, and left as it was, also when what runs inside fails."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture.states import needed_states


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Inside, evaluation mode, parameters that require no gradient, and the states that gradients need.

    Afterwards all is as before. May be nested.

    Args:
        module: the model, in any mode.
    """
    parts = list(module.modules())
    with needed_states(parts), _evaluation_flags(module, parts):
        yield


@contextmanager
def _evaluation_flags(module: nn.Module, parts: list[nn.Module]) -> Iterator[None]:
    # A frozen TorchScript module has no mode any more.
    modes = [(part, bool(getattr(part, "training", False))) for part in parts]
    # Not `parameters()`: it looks for duplicates by name, which takes longer than all the rest here.
    own = (parameter for part, _ in modes for parameter in part._parameters.values())
    trainable = [parameter for parameter in own if parameter is not None and parameter.requires_grad]
    try:
        if any(training for _, training in modes):
            with suppress(NotImplementedError):  # of exported programs, whose mode was decided when they were exported
                module.eval()  # the method, not the flags alone: LeViT and others fill a cache in theirs
            for part, _ in modes:
                if part.training:  # assigning to a module is slow, and there are hundreds
                    part.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for part, training in modes:
            if getattr(part, "training", False) != training:
                part.training = training


@contextmanager
def freeze(module: nn.Module) -> Iterator[None]:
    """:func:`evaluation_mode`, and a compiled model runs as it is written inside: compiled code calls no hooks."""
    stance = torch.compiler.set_stance("force_eager") if is_compiled(module) else nullcontext()
    with evaluation_mode(module), stance:
        yield


def is_compiled(module: nn.Module) -> bool:
    """Whether ``torch.compile`` was applied to the module, to a part of it, or to a ``forward`` in it."""
    if "torch._dynamo" not in sys.modules:  # where the compiler is not loaded, nothing is compiled
        return False
    return any(
        hasattr(part, "_orig_mod")
        or getattr(part, "_compiled_call_impl", None) is not None
        or hasattr(part.forward, "_torchdynamo_orig_callable")
        for part in module.modules()
    )


@contextmanager
def replace_forward(part: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, calling the module runs another function; its hooks are called as always."""
    own = part.__dict__.get("forward")
    part.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            part.__dict__.pop("forward", None)
        else:
            part.__dict__["forward"] = own


@contextmanager
def copied_buffers(module: nn.Module, paths: Collection[str] | None = None) -> Iterator[set[str]]:
    """Inside, a module works on copies of its buffers; afterwards on its own, which nothing has changed.

    On copies, because the backward pass needs what the forward pass left in them.

    Args:
        module: whose buffers.
        paths: of which buffers; None: of all.

    Yields:
        The paths of the buffers that were changed, once the block has ended.
    """
    own = [
        (part, name, f"{prefix}.{name}".lstrip("."), buffer)
        for prefix, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)  # whose buffers cannot be exchanged
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    copies = [(*place, buffer, buffer.clone()) for *place, buffer in own if paths is None or place[2] in paths]
    changed: set[str] = set()
    for part, name, _, _, copy in copies:
        part._buffers[name] = copy
    try:
        yield changed
    finally:
        for part, name, path, buffer, copy in copies:
            if part._buffers.get(name) is not copy or not are_identical(buffer, copy):
                changed.add(path)
            part._buffers[name] = buffer


def are_identical(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, NaN in the same places."""
    return bool(((one == other) | ((one != one) & (other != other))).all())
