"""Search for details that stand at one place in the images of a class and not in those of other classes.

Half-transparent text, digits that vary and rulers are not the same pixel by pixel, but their mean over the images of a
class is not that of other images. Fine details (what a slight blur removes) of photographs that share nothing average
out; a t statistic of each pixel between the class and the others shows what does not. Objects that are always in the
middle have no such details at one place.
"""

from __future__ import annotations

import cv2
import numpy as np

from camcli.checks.shortcuts.patterns import Pattern, Search, in_shares

_FINE = 2.0
"""Standard deviation of the blur, in pixels of the working size, whose rest is detail."""
_WINDOW = 7
"""Side of the windows over which the squared t statistic is averaged; 1 where nothing is shared."""
_LEVEL = 2.5
"""Mean squared t statistic of a window from which on it is part of a pattern."""
_EDGE = 0.25
"""Share of a pattern's highest strengths from which on a pixel belongs to it."""
_AREA = (0.002, 0.35)
"""Least and largest share of the view that a pattern may have."""
_LEAST = 0.1
"""Correlation of an image's details with the pattern from which on it may show it."""
_REACH = 3
"""Pixels by which a pattern may be shifted from image to image."""


def find_fixed_pattern(search: Search) -> Pattern | None:
    """The details at one place that set the class apart most clearly; None where there are none."""
    own, others = details(search.own), details(search.others)
    if min(len(own), len(others)) < 5:
        return None
    patterns = [pattern for box in _regions(own, others) if (pattern := _confirm(search, own, others, box)) is not None]
    return min(patterns, key=lambda pattern: (-round(pattern.share, 1), pattern.chance), default=None)


def details(images: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) float32: each image without its blur, bounded so that no strong edge decides a mean."""
    return np.stack([np.clip(image - cv2.GaussianBlur(image, (0, 0), _FINE), -40, 40) for image in images])


def _regions(own: np.ndarray, others: np.ndarray) -> list[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 in pixels of the connected areas where the means differ, strongest first."""
    variance = own.var(0, ddof=1) / len(own) + others.var(0, ddof=1) / len(others)
    t = (own.mean(0) - others.mean(0)) ** 2 / np.maximum(variance, 1e-3)
    mean = t.mean(-1).astype(np.float32)
    strength, sharp = cv2.boxFilter(mean, -1, (_WINDOW, _WINDOW)), cv2.boxFilter(mean, -1, (3, 3))
    area = cv2.morphologyEx((strength > _LEVEL).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(area, connectivity=8)
    boxes = []
    for part in range(1, count):
        w, h = stats[part, cv2.CC_STAT_WIDTH], stats[part, cv2.CC_STAT_HEIGHT]
        if _AREA[0] <= w * h / area.size <= _AREA[1]:
            weight = float((strength * (parts == part)).sum())
            boxes.append((weight, _tight_box(np.where(parts == part, sharp, 0))))
    return [box for _, box in sorted(boxes, reverse=True)[:4]]


def _tight_box(strength: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of where a pattern is strong: windows and details reach over its edge, and are weaker there."""
    strong = strength > _EDGE * np.percentile(strength[strength > 0], 95)
    rows, columns = (np.flatnonzero(strong.sum(axis) >= min(2, strong.sum(axis).max())) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _confirm(search: Search, own: np.ndarray, others: np.ndarray, box: tuple[int, int, int, int]) -> Pattern | None:
    """The pattern at a place, where the single images of the class show it and other images do not.

    Each image is compared with the mean of the class without itself.
    """
    x0, y0, x1, y1 = box
    total = own[:, y0:y1, x0:x1].sum(0)
    inside, shifts = zip(
        *(_correlation(image, (total - image[y0:y1, x0:x1]) / (len(own) - 1), box) for image in own), strict=True
    )
    outside = [_correlation(image, total / len(own), box)[0] for image in others]
    boxes = {i: in_shares((x0 + dx, y0 + dy, x1 + dx, y1 + dy), own.shape[1:]) for i, (dx, dy) in enumerate(shifts)}
    # A correlation is the higher, the more alike two images are; a distance the lower.
    return search.separate(boxes, -np.array(inside), -np.array(outside), -_LEAST, len(own) * 4)


def _correlation(
    image: np.ndarray, pattern: np.ndarray, box: tuple[int, int, int, int]
) -> tuple[float, tuple[int, int]]:
    """The highest correlation with a pattern within a few pixels of its place, and the shift (dx, dy)."""
    x0, y0, x1, y1 = box
    top, left = max(0, y0 - _REACH), max(0, x0 - _REACH)
    around = image[top : y1 + _REACH, left : x1 + _REACH]
    scores = cv2.matchTemplate(around, pattern.astype(np.float32), cv2.TM_CCORR_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(np.nan_to_num(scores))
    return float(best), (left + x - x0, top + y - y0)
