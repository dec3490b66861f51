"""Signals through a network with random weights.

Freshly initialised networks are partly silent: heads, last norms of residual branches and gates start at zero, and
batch-norm statistics of zero mean and unit deviation let deep activations explode or vanish. A proof by perturbation
and a gradient say nothing about such a network, so for their duration zeros are given a value and the statistics are
calibrated on the first images that go through. Everything is put back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_OPEN = 0.3  # of what starts at zero: enough to matter, too little to drown the residual stream in noise
_LIFT = 1.0  # of zero batch-norm biases, in deviations: rectifiers stay open, else small changes grow chaotically
_FLOOR = 0.25  # of a batch-norm's variance, as a share of the mean square of its whole input


@contextmanager
def warmed_up(module: nn.Module) -> Iterator[bool]:
    """Within the context a network that has never been trained carries signals; a trained one is not touched.

    Pristine batch norms take their statistics from the first batch that goes through, each on what the calibrated
    norms before it let through: a pass of its own would be a tenth of what a proof may cost.

    Args:
        module: the network, in eval mode.

    Yields:
        Whether anything was changed.
    """
    parts = list(module.modules())
    named = {id(p): (name, p) for part in parts for name, p in part._parameters.items() if p is not None}
    zeros = [parameter for name, parameter in named.values() if _is_silent(name, parameter)]
    norms = [part for part in parts if isinstance(part, _BatchNorm) and _is_pristine(part)]
    if not zeros and not norms:
        yield False
        return
    touched: list[Tensor] = [*zeros, *(buffer for norm in norms for buffer in norm.buffers(recurse=False))]
    touched += [norm.bias for norm in norms if norm.bias is not None]
    kept = [(tensor, tensor.detach().clone()) for tensor in touched]
    try:
        with torch.no_grad():
            _wake(zeros)
            _open(norms)
        with ExitStack() as hooks:
            for norm in norms:
                hooks.callback(_measure_once(norm))
            yield True
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)


def _is_silent(name: str, parameter: Tensor) -> bool:
    """A weight, scale or gate that is zero throughout; a zero bias silences nothing."""
    if name.endswith("bias") or parameter.numel() == 0:
        return False
    first = parameter.detach()[(0,) * parameter.ndim]  # reading all parameters takes as long as a pass
    return not bool(first) and not bool(parameter.detach().any())


def _is_pristine(norm: nn.Module) -> bool:
    mean, var = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    return mean is not None and var is not None and not bool(mean.any()) and bool((var == 1).all())


def _wake(zeros: Sequence[Tensor]) -> None:
    for index, parameter in enumerate(zeros):
        if parameter.ndim < 2 or parameter.shape[-1] == 1:
            parameter.fill_(_OPEN)  # the last norm of a residual branch, a layer scale, a gate
        else:
            generator = torch.Generator().manual_seed(index)
            values = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
            parameter.copy_(values)


def _open(norms: Sequence[_BatchNorm]) -> None:
    for norm in norms:
        if norm.bias is not None and not bool(norm.bias.any()):
            norm.bias.fill_(_LIFT)


def _measure_once(norm: _BatchNorm) -> Callable[[], None]:
    """Have the norm's first input give its statistics; returns what takes the hook away where there was none."""

    def hook(_norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        handle.remove()  # a graph that holds the statistics forbids to change them again
        with torch.no_grad():
            _measure(norm, inputs[0])

    handle = norm.register_forward_pre_hook(hook)
    return handle.remove


def _measure(norm: _BatchNorm, inputs: Tensor) -> None:
    """Set mean and variance of the input (N, K, ...) per channel.

    The variance has a floor: what is nearly constant (the average that untrained attention spreads over all positions,
    the single value of a squeezed map) must stay so, or everything would depend on everything.
    """
    values = inputs.float()
    variance, mean = torch.var_mean(values, [axis for axis in range(values.ndim) if axis != 1], correction=0)
    floor = _FLOOR * (variance + mean.square()).mean()
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance.clamp(min=floor).clamp(min=torch.finfo(torch.float32).tiny))
