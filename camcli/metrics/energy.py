"""Energy in the box or mask: the share of the map's mass that lies on the object."""

import torch
from torch import Tensor

from camcli.metrics.base import Metric


def energy(maps: Tensor, regions: Tensor) -> Tensor:
    """Σ L·G / Σ L in [0, 1], higher is better (the energy-based pointing game of Wang 2020, arXiv:1910.01279).

    Args:
        maps: L, (N, H, W) in [0, 1].
        regions: G, (N, H, W) bool.

    Returns:
        (N,) float32; NaN for a map without mass or an empty region.
    """
    total, inside = maps.flatten(1).sum(1), (maps * regions).flatten(1).sum(1)
    defined = (total > 0) & regions.flatten(1).any(1)
    return torch.where(defined, inside / total.clamp(min=1e-30), torch.nan)


METRIC = Metric(
    "energy", "Energy in object", "Wang 2020, arXiv:1910.01279", "regions", "Localisation",
    lambda sample: energy(sample.maps, sample.regions), headline=True,
)  # fmt: skip
