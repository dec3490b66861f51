"""Entropy: how far a native map is spread over its cells."""

import math

import torch
from torch import Tensor

from camcli.device import in_float64
from camcli.metrics.base import Metric


def entropy(native: Tensor) -> Tensor:
    """−Σ p ln p / ln n with p = relu(m)/Σ relu(m): 0 for one hot cell, 1 for uniform; as in the index.

    Args:
        native: (N, h, w), raw.

    Returns:
        (N,) float32; NaN for a grid of one cell, and where nothing is positive or anything is not finite.
    """
    cells = torch.relu(in_float64(native.flatten(1)))
    n, total = cells.shape[1], cells.sum(1)
    if n < 2:
        return torch.full((len(cells),), torch.nan, device=native.device)
    p = cells / total[:, None]
    spread = -torch.special.xlogy(p, p).sum(1) / math.log(n)
    return torch.where((total > 0) & total.isfinite(), spread.clamp(0, 1), torch.nan).to(native.device, torch.float32)


METRIC = Metric(
    "entropy", "Entropy", "Shannon 1948", "maps", "Complexity", lambda sample: entropy(sample.native), better="neither",
)  # fmt: skip
