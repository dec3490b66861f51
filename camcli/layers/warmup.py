"""Signals through a network with random weights.

Freshly initialised networks are partly silent: heads, last norms of residual branches and gates start at zero, and
batch-norm statistics of zero mean and unit deviation let deep activations explode or vanish. A proof by perturbation
and a gradient say nothing about such a network, so for their duration zeros are given a value and the statistics are
calibrated on noise. Everything is put back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def warmed_up(module: nn.Module, noise: Tensor) -> Iterator[bool]:
    """Within the context a network that has never been trained carries signals; a trained one is not touched.

    Args:
        module: the network, in eval mode.
        noise: inputs (N ≥ 2, C, H, W) to calibrate batch-norm statistics on.

    Yields:
        Whether anything was changed.
    """
    zeros = [parameter for name, parameter in module.named_parameters() if _is_silent(name, parameter)]
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and _is_pristine(m)]
    if not zeros and not norms:
        yield False
        return
    touched = [*zeros, *(buffer for norm in norms for buffer in norm.buffers(recurse=False))]
    kept = [(tensor, tensor.detach().clone()) for tensor in touched]
    try:
        with torch.no_grad():
            _wake(zeros)
            _calibrate(module, norms, noise)
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
            parameter.fill_(1.0)  # a norm's weight, a layer scale, a gate: as if it were not there
        else:
            generator = torch.Generator().manual_seed(index)
            values = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
            parameter.copy_(values)


def _calibrate(module: nn.Module, norms: list[_BatchNorm], noise: Tensor) -> None:
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    handles = [norm.register_forward_pre_hook(_skip_single_values) for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        module(noise)
    finally:
        for handle in handles:
            handle.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def _skip_single_values(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Statistics of a single value per channel do not exist, and torch refuses to compute them."""
    values = inputs[0]
    if values.numel() == values.shape[1]:
        norm.eval()
