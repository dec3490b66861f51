"""Signals through a network with random weights.

Freshly initialised networks are partly silent: heads, last norms of residual branches and gates start at zero, and
batch-norm statistics of zero mean and unit deviation let deep activations explode or vanish. A proof by perturbation
and a gradient say nothing about such a network, so for their duration zeros are given a value and the statistics are
calibrated on the first images that go through. Everything is put back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture.batch_norm import batch_norms, has_initial_statistics, measure_on_first_input

_OPEN = 0.3  # of what starts at zero: enough to matter, too little to drown the residual stream in noise
_LIFT = 1.0  # of zero batch-norm biases, in deviations: rectifiers stay open, else small changes grow chaotically


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
    norms = [norm for norm in batch_norms(module) if has_initial_statistics(norm)]
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
                hooks.callback(measure_on_first_input(norm))
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
