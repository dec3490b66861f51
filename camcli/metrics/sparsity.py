"""Sparsity: how unevenly a native map spreads its mass."""

import torch
from torch import Tensor

from camcli.device import in_float64
from camcli.metrics.base import Metric


def sparsity(native: Tensor) -> Tensor:
    """The Gini index of the positive part of a map: 0 for uniform, 1 − 1/n for one hot cell.

    1 − 2 Σ_k m_(k)/Σm · (n − k + ½)/n over the cells in ascending order, k = 1 … n (Hurley 2009, arXiv:0811.4706;
    for attributions Chalasani 2020, arXiv:1810.06583).

    Args:
        native: (N, h, w), raw.

    Returns:
        (N,) float32; NaN where nothing is positive or anything is not finite.
    """
    cells = torch.relu(in_float64(native.flatten(1))).sort(dim=1).values
    n = cells.shape[1]
    weights = (n - torch.arange(1, n + 1, device=cells.device, dtype=cells.dtype) + 0.5) / n
    total = cells.sum(1)
    gini = 1 - 2 * (cells * weights).sum(1) / total
    return torch.where((total > 0) & total.isfinite(), gini, torch.nan).to(native.device, torch.float32)


METRIC = Metric(
    "sparsity", "Sparsity", "Chalasani 2020, arXiv:1810.06583", "maps", "Complexity",
    lambda sample: sparsity(sample.native), better="neither",
)  # fmt: skip
