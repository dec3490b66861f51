"""MaxBoxAccV2: how well boxes drawn around the map fit the object, at the best threshold for the whole set."""

import cv2
import numpy as np
import torch
from torch import Tensor

from camcli.metrics.base import Metric

OVERLAPS = (0.3, 0.5, 0.7)
THRESHOLDS = tuple(k / 50 for k in range(50))


def box_hits(maps: Tensor, regions: Tensor) -> Tensor:
    """Whether a box around a part of {L ≥ τ} overlaps the object's box enough (Choe 2020, arXiv:2007.04178).

    For each threshold τ every connected part of {L ≥ τ} gives a box, and the best one counts. Over a set of images
    MaxBoxAccV2 is :func:`max_box_accuracy` of the mean of these.

    Args:
        maps: L, (N, H, W) in [0, 1].
        regions: (N, H, W) bool; their bounding box is the object's.

    Returns:
        (N, len(THRESHOLDS) · len(OVERLAPS)) float32 of 0 and 1; NaN for an empty region.
    """
    hits = [_hits(m, g) for m, g in zip(maps.cpu().numpy(), regions.cpu().numpy(), strict=True)]
    return torch.from_numpy(np.stack(hits).astype(np.float32).reshape(len(maps), -1))


def max_box_accuracy(means: np.ndarray) -> np.ndarray:
    """Per overlap the best threshold, then the mean over overlaps: (…, THRESHOLDS · OVERLAPS) → (…)."""
    by_threshold = means.reshape(*means.shape[:-1], len(THRESHOLDS), len(OVERLAPS))
    best: np.ndarray = by_threshold.max(axis=-2).mean(axis=-1)
    return best


def _hits(heat: np.ndarray, region: np.ndarray) -> np.ndarray:
    if not region.any():
        return np.full((len(THRESHOLDS), len(OVERLAPS)), np.nan)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    truth = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    best = np.array([_best_overlap(heat >= threshold, truth) for threshold in THRESHOLDS])
    return best[:, None] >= np.array(OVERLAPS)


def _best_overlap(hot: np.ndarray, truth: np.ndarray) -> float:
    _, _, stats, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8), connectivity=8)
    x, y, w, h = stats[1:, :4].T  # the first is the background
    if not len(x):
        return 0.0
    wide = np.minimum(x + w, truth[2]) - np.maximum(x, truth[0])
    high = np.minimum(y + h, truth[3]) - np.maximum(y, truth[1])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    both = w * h + (truth[2] - truth[0]) * (truth[3] - truth[1]) - shared
    return float((shared / both).max())


METRIC = Metric(
    "maxboxacc", "MaxBoxAccV2 %", "Choe 2020, arXiv:2007.04178", "regions", "Localisation",
    lambda sample: box_hits(sample.maps, sample.regions), factor=100, finish=max_box_accuracy,
)  # fmt: skip
