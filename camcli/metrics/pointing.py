"""The pointing game: does the map's maximum lie on the object?"""

import cv2
import numpy as np
import torch
from torch import Tensor

from camcli.metrics.base import Metric

TOLERANCE, AT = 15.0, 224
"""How far off the object still counts, in pixels of an input whose shorter side is :data:`AT`; it scales with it."""


def pointing(maps: Tensor, regions: Tensor) -> Tensor:
    """1 where the maximum of L is at most 15 px (at 224) from G, else 0 (Zhang 2018, arXiv:1608.00507).

    Where several pixels share the maximum, the share of them that hit: the expected value of a random choice.

    Args:
        maps: L, (N, H, W) in [0, 1].
        regions: G, (N, H, W) bool.

    Returns:
        (N,) float32; NaN for an empty region or a map that is the same everywhere.
    """
    return torch.tensor([_hit(m, g) for m, g in zip(maps.cpu().numpy(), regions.cpu().numpy(), strict=True)])


def _hit(heat: np.ndarray, region: np.ndarray) -> float:
    if not region.any() or heat.max() == heat.min():
        return float("nan")
    away = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = away <= TOLERANCE * min(heat.shape) / AT
    return float(near[heat == heat.max()].mean())


METRIC = Metric(
    "pointing", "Pointing game %", "Zhang 2018, arXiv:1608.00507", "regions", "Localisation",
    lambda sample: pointing(sample.maps, sample.regions), factor=100,
)  # fmt: skip
