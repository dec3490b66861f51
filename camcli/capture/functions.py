"""Looking into a forward pass at the level of functions, where modules and functional code look the same.

A ``TorchFunctionMode`` sees ``F.relu``, ``F.conv2d``, ``F.batch_norm`` … however they are called: from a module, fused
into a norm-and-activation layer, or from plain code. Nothing in the model is replaced, so nothing has to be restored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_RELUS = {
    F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6,
    F.threshold, F.leaky_relu, F.leaky_relu_, torch.clamp_min, Tensor.clamp_min,
}  # fmt: skip
_BOUNDED = {F.hardtanh, F.hardtanh_, torch.clamp, Tensor.clamp}
_SMOOTH = {
    F.gelu, F.silu, F.hardswish, F.mish, F.elu, F.selu, F.softplus, torch.tanh, Tensor.tanh, F.hardsigmoid,
    F.prelu, torch.prelu,
}  # fmt: skip
_CONVOLUTIONS = {F.conv1d: -2, F.conv2d: -3, F.conv3d: -4, F.conv_transpose2d: -3}
"""The dimension of the channels, with a batch or without."""


class GuidedRelu(TorchFunctionMode):
    """Lets only positive gradients back through every ReLU (and ReLU6).

    Attributes:
        count: how many ran.
        others: names of activation functions that ran and have no guided rule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.others: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _SMOOTH:
            self.others.add(func.__name__)
        if not (func in _RELUS or (func in _BOUNDED and _from_zero(args, kwargs or {}))):
            return output
        self.count += 1
        if output.requires_grad:
            output.register_hook(torch.relu)
            # What follows may write in place, which would move the hook to the result of that operation.
            return output.clone()
        return output


def _from_zero(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    low = kwargs.get("min_val", kwargs.get("min", args[1] if len(args) > 1 else None))
    return isinstance(low, int | float) and low == 0


class BiasTap(TorchFunctionMode):
    """Records every bias of a forward pass with the tensor that it was added to.

    Convolutions and linear maps bring their own; a batch-norm in inference is y = γ·x/σ + (β − γμ/σ), whose second term
    is an implicit bias; a layer-norm or group-norm counts with its β.

    Attributes:
        terms: bias (K,), output, in the graph, and the dimension of the output that the channels are in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.terms: list[tuple[Tensor, Tensor, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        term = _bias_of(func, args, kwargs)
        if term is None or not isinstance(output, Tensor) or not output.requires_grad:
            return output
        bias, dim = term
        self.terms.append((bias.detach(), output, dim))
        return output.clone()


def _bias_of(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Tensor, int] | None:
    def argument(name: str, place: int) -> Any:
        return args[place] if len(args) > place else kwargs.get(name)

    if func in _CONVOLUTIONS or func is F.linear:
        bias = argument("bias", 2)
        return None if bias is None else (bias, -1 if func is F.linear else _CONVOLUTIONS[func])
    if func is F.batch_norm or func is torch.batch_norm:
        raw = func is torch.batch_norm  # (x, weight, bias, mean, var, training, momentum, eps, cudnn)
        mean, variance = argument("running_mean", 3 if raw else 1), argument("running_var", 4 if raw else 2)
        weight, bias = argument("weight", 1 if raw else 3), argument("bias", 2 if raw else 4)
        if mean is None or variance is None:
            return None
        eps = argument("eps", 7)
        shift = -mean / torch.sqrt(variance + (1e-5 if eps is None else eps))
        shift = shift if weight is None else shift * weight
        return (shift if bias is None else shift + bias), 1
    if func is F.layer_norm:
        bias = argument("bias", 3)
        return None if bias is None or bias.ndim != 1 else (bias, -1)
    if func is F.group_norm:
        bias = argument("bias", 3)
        return None if bias is None else (bias, 1)
    return None


class AttentionTap(TorchFunctionMode):
    """Makes every attention matrix of a forward pass visible, where gradients can be taken at it.

    Fused attention is computed step by step; what is computed so already is met at its softmax. A matrix is a 4-D
    softmax over keys with as many queries as keys.

    Attributes:
        matrices: (N, heads, tokens, tokens), in the graph, in the order of the pass.
        tokens: only matrices over this many tokens count.
    """

    def __init__(self, tokens: int, on_matrix: Callable[[int], None] = lambda _: None) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []
        self.tokens = tokens
        self.on_matrix = on_matrix

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._unfused(*args, **kwargs)
        output = func(*args, **kwargs)
        if func in (F.softmax, torch.softmax, Tensor.softmax):
            return self._expose(output)
        return output

    def _expose(self, matrix: Tensor) -> Tensor:
        if matrix.ndim != 4 or matrix.shape[-1] != self.tokens or matrix.shape[-2] != self.tokens:
            return matrix
        # The first one starts the graph, as the target layer does in a plain pass.
        node = matrix if matrix.requires_grad else matrix.detach().requires_grad_(torch.is_grad_enabled())
        self.matrices.append(node)
        self.on_matrix(len(self.matrices) - 1)
        return node.clone()

    def _unfused(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        scores = (query @ key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return self._expose(torch.softmax(scores.float(), -1).to(value.dtype)) @ value
