"""Batch norms folded into the convolutions before them, and restored.

In evaluation a batch norm is a scale and a shift per channel, and so is part of the convolution before it: one pass
over the memory less for each.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture.frozen import replace_forward
from camcli.device import in_float64
from camcli.speed.dataflow import Pair


def fold(module: nn.Module, pairs: Sequence[Pair], undo: ExitStack) -> int:
    """Let each convolution of the pairs compute what its batch norm computed.

    With running mean μ, variance v, scale γ and shift β of the norm, s = γ / √(v + ε): the convolution's weight W
    becomes s·W and its bias b becomes s·(b − μ) + β. The norm then returns its input, through the activation that
    some norms contain.

    Args:
        module: the network the pairs are of.
        pairs: what to fold; those with parameters that are shared with other modules, or not float32, are left.
        undo: gets the callbacks that restore everything bit for bit.

    Returns:
        How many were folded.
    """
    owners = Counter(id(p) for part in module.modules() for p in part._parameters.values() if p is not None)
    folded = 0
    for pair in pairs:
        own = [p for part in (pair.conv, pair.norm) for p in part._parameters.values() if p is not None]
        if all(owners[id(p)] == 1 and p.dtype == torch.float32 for p in own):
            _fold_one(pair, undo)
            folded += 1
    return folded


def _fold_one(pair: Pair, undo: ExitStack) -> None:
    conv, norm = pair.conv, pair.norm
    weight, bias = _fold_parameters(conv, norm)
    undo.callback(conv._parameters.update, {name: conv._parameters[name] for name in ("weight", "bias")})
    conv._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
    conv._parameters["bias"] = nn.Parameter(bias, requires_grad=False)
    undo.enter_context(replace_forward(norm, _activation_only(list(norm.children()))))


@torch.no_grad()
def _fold_parameters(conv: nn.Conv2d, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution with the norm in it, in float64: float32 would round twice."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (in_float64(norm.running_var) + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * in_float64(norm.weight)
    mean = in_float64(norm.running_mean)
    shift = -mean if conv.bias is None else in_float64(conv.bias) - mean
    bias = shift * scale
    if norm.bias is not None:
        bias = bias + in_float64(norm.bias)
    weight = torch.empty_like(conv.weight)  # in the memory format of the weight
    weight.copy_((in_float64(conv.weight) * scale[:, None, None, None]).to(weight.dtype))
    return weight, bias.to(weight.device, weight.dtype)


def _activation_only(children: Iterable[nn.Module]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        for child in children:
            x = child(x)
        return x

    return forward
