"""Signals through a network with random weights.

Freshly initialised networks are partly silent: heads, last norms of residual branches and gates start at zero, and
batch-norm statistics of zero mean and unit deviation let deep activations explode or vanish. A proof by perturbation
and a gradient say nothing about such a network, so for their duration zeros are given a value and the statistics are
calibrated on noise. Everything is put back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_OPEN = 0.3  # of what starts at zero: enough to matter, too little to drown the residual stream in noise
_LIFT = 1.0  # of zero batch-norm biases, in deviations: rectifiers stay open, else small changes grow chaotically
_FLOOR = 0.25  # of a batch-norm's variance, as a share of the mean square of its whole input


@contextmanager
def warmed_up(module: nn.Module, noise: Tensor, feed: Callable[[Tensor], Any] | None = None) -> Iterator[bool]:
    """Within the context a network that has never been trained carries signals; a trained one is not touched.

    Args:
        module: the network, in eval mode.
        noise: inputs (N, C, H, W) to calibrate batch-norm statistics on.
        feed: runs the network on a batch, where that is not calling it.

    Yields:
        Whether anything was changed.
    """
    zeros = [parameter for name, parameter in module.named_parameters() if _is_silent(name, parameter)]
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and _is_pristine(m)]
    if not zeros and not norms:
        yield False
        return
    touched: list[Tensor] = [*zeros, *(buffer for norm in norms for buffer in norm.buffers(recurse=False))]
    touched += [norm.bias for norm in norms if norm.bias is not None]
    kept = [(tensor, tensor.detach().clone()) for tensor in touched]
    try:
        with torch.no_grad():
            _wake(zeros)
            _calibrate(feed or module, norms, noise)
        yield True
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)


def _is_silent(name: str, parameter: Tensor) -> bool:
    """A weight, scale or gate that is zero throughout; a zero bias silences nothing."""
    return not name.endswith("bias") and parameter.numel() > 0 and not bool(parameter.detach().any())


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


def _calibrate(feed: Callable[[Tensor], Any], norms: Sequence[_BatchNorm], noise: Tensor) -> None:
    """Give the norms statistics one after the other, each on what the calibrated norms before it let through."""
    for norm in norms:
        if norm.bias is not None and not bool(norm.bias.any()):
            norm.bias.fill_(_LIFT)
    handles = [norm.register_forward_pre_hook(_measure) for norm in norms]
    try:
        if norms:
            feed(noise)
    finally:
        for handle in handles:
            handle.remove()


def _measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Set mean and variance of the input (N, K, ...) per channel.

    The variance has a floor: what is nearly constant (the average that untrained attention spreads over all positions,
    the single value of a squeezed map) must stay so, or everything would depend on everything.
    """
    values = inputs[0].float()
    axes = [axis for axis in range(values.ndim) if axis != 1]
    mean = values.mean(axes)
    variance = (values.square().mean(axes) - mean.square()).clamp(min=_FLOOR * float(values.square().mean()))
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance.clamp(min=torch.finfo(torch.float32).tiny))
