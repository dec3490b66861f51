"""Signals through a network with random weights.

In an untrained network, heads, last norms of residual branches and gates are zero-initialised, and batch-norm
statistics of zero mean and unit variance let deep activations explode or vanish. Perturbations and gradients show
nothing in such a network. So for their duration the zeros get other values, and the statistics are calibrated on the
first images of the pass. Everything is restored bit for bit.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture.batch_norm import batch_norms, has_initial_statistics, measure_on_first_input

_SCALE = 0.3  # instead of zero: large enough to matter, small enough for the residual stream to dominate
_BIAS = 1.0  # instead of a zero batch-norm bias, in deviations: ReLUs stay linear, else small changes grow chaotically


@contextmanager
def initialise_untrained(module: nn.Module) -> Iterator[bool]:
    """Inside, every layer of an untrained network depends on its input; a trained network is not changed.

    Batch norms with initial statistics are calibrated on the first batch, each on the output of the calibrated norms
    before it: a pass for that alone would be a tenth of what the verification of a layer may cost.

    Args:
        module: the network, in eval mode.

    Yields:
        Whether anything was changed.
    """
    parts = list(module.modules())
    parameters = {id(p): (name, p) for part in parts for name, p in part._parameters.items() if p is not None}
    zeros = [parameter for name, parameter in parameters.values() if _is_zero_initialised(name, parameter)]
    norms = [norm for norm in batch_norms(module) if has_initial_statistics(norm)]
    if not zeros and not norms:
        yield False
        return
    changed: list[Tensor] = [*zeros, *(buffer for norm in norms for buffer in norm.buffers(recurse=False))]
    changed += [norm.bias for norm in norms if norm.bias is not None]
    before = [(tensor, tensor.detach().clone()) for tensor in changed]
    try:
        with torch.no_grad():
            _fill_zeros(zeros)
            _raise_biases(norms)
        with ExitStack() as hooks:
            for norm in norms:
                hooks.callback(measure_on_first_input(norm))
            yield True
    finally:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)


def _is_zero_initialised(name: str, parameter: Tensor) -> bool:
    """A weight, scale or gate that is zero throughout; a zero bias blocks no signal."""
    if name.endswith("bias") or parameter.numel() == 0:
        return False
    first = parameter.detach()[(0,) * parameter.ndim]  # reading all parameters takes as long as a pass
    return not bool(first) and not bool(parameter.detach().any())


def _fill_zeros(zeros: Sequence[Tensor]) -> None:
    for index, parameter in enumerate(zeros):
        if parameter.ndim < 2 or parameter.shape[-1] == 1:
            parameter.fill_(_SCALE)  # the last norm of a residual branch, a layer scale, a gate
        else:
            generator = torch.Generator().manual_seed(index)
            values = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
            parameter.copy_(values)


def _raise_biases(norms: Sequence[_BatchNorm]) -> None:
    for norm in norms:
        if norm.bias is not None and not bool(norm.bias.any()):
            norm.bias.fill_(_BIAS)
