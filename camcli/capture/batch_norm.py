"""Batch norms that were never trained, and their statistics measured."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_FLOOR = 0.25  # of a batch-norm's variance, as a share of the mean square of its whole input


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a module that keep running statistics."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


def has_initial_statistics(norm: _BatchNorm) -> bool:
    """Whether the running mean is 0 and the running variance 1 throughout: no batch was ever seen in training."""
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and not bool(mean.any()) and bool((variance == 1).all())


def measure_on_batch(module: nn.Module, inputs: Tensor) -> None:
    """Set the running statistics of all batch norms to those of a batch (N, C, H, W), as one training step would.

    Nothing is done for a single image, whose variance a norm of pooled values could not take.
    """
    norms = batch_norms(module)
    if not norms or len(inputs) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        module(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def measure_on_first_input(norm: _BatchNorm) -> Callable[[], None]:
    """Have the norm's next input give its statistics; returns what takes the hook away where there was none.

    No pass of its own is needed, and the norm stays in evaluation mode, so that a graph of the pass is that of
    inference.
    """

    def hook(_norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        handle.remove()  # a graph that holds the statistics forbids to change them again
        with torch.no_grad():
            _set_statistics(norm, inputs[0])

    handle = norm.register_forward_pre_hook(hook)
    return handle.remove


def _set_statistics(norm: _BatchNorm, inputs: Tensor) -> None:
    """Mean and variance of the input (N, K, ...) per channel.

    The variance has a floor: what is nearly constant (the average that untrained attention spreads over all positions,
    the single value of a squeezed map) must stay so, or everything would depend on everything.
    """
    values = inputs.float()
    variance, mean = torch.var_mean(values, [axis for axis in range(values.ndim) if axis != 1], correction=0)
    floor = _FLOOR * (variance + mean.square()).mean()
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance.clamp(min=floor).clamp(min=torch.finfo(torch.float32).tiny))
