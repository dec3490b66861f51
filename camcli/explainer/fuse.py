"""One map of the maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.methods.images import normalised, upsampled

_LAYERCAM_GAMMA = 2.0


def fuse(maps: Sequence[Tensor], how: str, method: str, size: tuple[int, int] | None = None) -> Tensor:
    """Each map relu(M), upsampled to the finest grid and N01, then ``mean``, ``max`` or ``product`` of them.

    LayerCAM's ``max`` (Jiang 2021, eq. 10) lifts all but the deepest first: tanh(2·M / max M).

    Args:
        maps: (N, h, w) raw each, the layers in the order of the forward pass.
        how: ``mean``, ``max`` or ``product``.
        method: key of the method they are of.
        size: grid of the result; None: the finest of them.

    Returns:
        (N, h, w) float32 in [0, 1]; NaN where a map is.
    """
    height, width = size or max(((m.shape[1], m.shape[2]) for m in maps), key=lambda s: s[0] * s[1])
    # Without it the weaker maps of earlier layers would never be the maximum.
    lifted = method == "layercam" and how == "max"
    ready = [
        upsampled(_lift(m), (height, width))
        if lifted and i + 1 < len(maps)
        else normalised(upsampled(m.relu(), (height, width)))
        for i, m in enumerate(maps)
    ]
    stack = torch.stack(ready)
    if how == "mean":
        return stack.mean(0)
    return stack.amax(0) if how == "max" else stack.prod(0)


def _lift(maps: Tensor) -> Tensor:
    positive = maps.relu()
    top = positive.amax((1, 2), keepdim=True)
    return torch.tanh(_LAYERCAM_GAMMA * torch.where(top > 0, positive / top, positive))
