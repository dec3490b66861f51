"""One map of the maps of several layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.methods.images import normalised, upsampled


def fuse(maps: Sequence[Tensor], how: str, gamma: float | None = None) -> Tensor:
    """Each map relu(M), upsampled to the finest grid and N01, then ``mean``, ``max`` or ``product`` of them.

    Args:
        maps: (N, h, w) raw each, the layers in the order of the forward pass.
        how: ``mean``, ``max`` or ``product``.
        gamma: of a method whose ``max`` takes tanh(γ·M / max M) of all maps but the deepest (Jiang 2021, eq. 10).

    Returns:
        (N, h, w) float32 in [0, 1]; NaN where a map is.
    """
    height, width = max(((m.shape[1], m.shape[2]) for m in maps), key=lambda s: s[0] * s[1])
    ready = [
        upsampled(_lift(m, gamma), (height, width))
        if gamma is not None and how == "max" and i + 1 < len(maps)
        else normalised(upsampled(m.relu(), (height, width)))
        for i, m in enumerate(maps)
    ]
    stack = torch.stack(ready)
    if how == "mean":
        return stack.mean(0)
    return stack.amax(0) if how == "max" else stack.prod(0)


def _lift(maps: Tensor, gamma: float) -> Tensor:
    positive = maps.relu()
    top = positive.amax((1, 2), keepdim=True)
    return torch.tanh(gamma * torch.where(top > 0, positive / top, positive))
