"""Networks of the same architecture that are not trained: their weights are re-initialised."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def reinitialise(module: nn.Module, inputs: torch.Tensor, seed: int, share: float = 1.0) -> nn.Module:
    """A copy of a network whose upper part is re-initialised.

    Each tensor gets normal values of its own mean and deviation, and batch-norm statistics are measured again, so that
    signals keep their size.

    Args:
        module: the trained network, in eval mode; it is not touched.
        inputs: (N, C, H, W), to measure batch-norm statistics on.
        seed: of the new weights.
        share: of the modules with weights, counted from the top; 1 for all of them.
    """
    import torch

    from camcli.capture.batch_norm import measure_on_batch

    with torch.random.fork_rng([inputs.device] if inputs.device.type == "cuda" else []), torch.no_grad():
        torch.manual_seed(seed)
        network = copy.deepcopy(module)
        own = [m for m in network.modules() if any(p.numel() for p in m.parameters(recurse=False))]
        own.reverse()  # modules are registered from the input to the output
        for part in own[: -int(-len(own) * share // 1)]:
            for parameter in part.parameters(recurse=False):
                _reinitialise_parameter(parameter)
        measure_on_batch(network, inputs)
    return network


def measure_fresh_norms(module: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """The network itself; where its batch-norm statistics were never measured, a copy of it with measured ones.

    Without them the signals of a network that was made and not trained grow from layer to layer: its predictions are
    sure of anything, and cannot be compared with those of :func:`reinitialise`.
    """
    import torch

    from camcli.capture.batch_norm import batch_norms, has_initial_statistics, measure_on_batch

    norms = batch_norms(module)
    if not norms or not all(has_initial_statistics(norm) for norm in norms):
        return module
    measured = copy.deepcopy(module)
    with torch.no_grad():
        measure_on_batch(measured, inputs)
    return measured


def _reinitialise_parameter(parameter: nn.Parameter) -> None:
    if not parameter.is_floating_point() or parameter.numel() < 2:
        return
    values = parameter.float()
    parameter.copy_(values.mean() + values.std() * values.new_empty(values.shape).normal_())
