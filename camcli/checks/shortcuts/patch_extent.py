"""From a window that recurs to the whole patch, and to all images that show it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from camcli.checks.shortcuts.matching import match
from camcli.checks.shortcuts.patterns import Box, Pattern, Search, in_shares

LEVELS, SHARES = (9.0, 13.0, 18.0), (0.35, 0.5, 0.65, 0.8)
"""Root mean square differences up to which two windows are the same: in levels of 0 to 255, and as a share of the
contrast of the window (its standard deviation)."""
_SCALES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""Sizes at which the whole patch is looked for, relative to the one it was found at."""


@dataclass(frozen=True)
class Window:
    """A window that recurs: its side, the chance of that, which images of the class match it, and where (top left)."""

    size: int
    chance: float
    images: np.ndarray
    places: np.ndarray


def whole_patch(search: Search, window: Window) -> Pattern | None:
    """The whole patch around a window that recurs, and all images that show it."""
    centres = _align(search.own[window.images], window.places + window.size // 2, window.size)
    patch, same, offset = _agreeing_part(search.own[window.images], centres, window.size)
    pattern = locate(search, patch, same)
    if pattern is None:
        return None
    # Once more with all images that show it: what agrees in more images is a better patch.
    images = np.array(list(pattern.boxes))
    height, width = search.own.shape[1:3]
    corners = np.array([(x0 * width, y0 * height) for x0, y0, _, _ in pattern.boxes.values()]).round().astype(int)
    centres = _align(search.own[images], corners - np.array(offset), window.size)
    patch, same, _ = _agreeing_part(search.own[images], centres, window.size)
    again = locate(search, patch, same)
    return again if again is not None and again.share >= pattern.share else pattern


def locate(search: Search, patch: np.ndarray, same: np.ndarray) -> Pattern | None:
    """All images that show a patch, of about its size; None where these are not significantly of the class.

    Args:
        search: the images.
        patch: (h, w, 3) float32.
        same: (h, w) bool, which of its pixels count.
    """
    inside, outside = np.full(len(search.own), np.inf), np.full(len(search.others), np.inf)
    boxes: dict[int, Box] = {}
    for scale in _SCALES:
        scaled, weights = _rescale(patch, same, scale)
        if min(scaled.shape[:2]) < 4 or any(a > b for a, b in zip(scaled.shape, search.own.shape[1:3], strict=False)):
            continue
        (distances,), (places,) = match(scaled[None], search.own_spectra, weights=weights)
        outside = np.minimum(outside, match(scaled[None], search.others_spectra, weights=weights)[0][0])
        for i in np.flatnonzero(distances < inside).tolist():
            x, y = places[i].tolist()
            boxes[i] = in_shares((x, y, x + scaled.shape[1], y + scaled.shape[0]), search.own.shape[1:])
        inside = np.minimum(inside, distances)
    largest = max(LEVELS[-1], SHARES[-1] * float(patch[same].std(0).mean()))
    return search.separate(boxes, inside, outside, largest, len(inside))


def _rescale(patch: np.ndarray, same: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    size = max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale))
    return (
        cv2.resize(patch, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        cv2.resize(same.astype(np.float32), size, interpolation=cv2.INTER_AREA),
    )


def _align(images: np.ndarray, centres: np.ndarray, size: int, reach: int = 3) -> np.ndarray:
    """The centres (N, 2) moved by a few pixels so that windows twice as large fit the median of all."""
    for _ in range(2):
        stack = windows_around(images, centres, size)
        median = np.nanmedian(stack, axis=0)
        weight = np.exp(-np.nan_to_num(np.nanstd(stack, axis=0), nan=255.0).mean(-1, keepdims=True) / 12)
        moved = []
        for image, (x, y) in zip(images, centres.tolist(), strict=True):
            options = [(x + dx, y + dy) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
            wide = windows_around(image[None], np.array([[x, y]]), size + reach)[0]
            errors = []
            for dx, dy in options:
                a, b = dx - x + reach, dy - y + reach
                difference = weight * (wide[b : b + 2 * size, a : a + 2 * size] - median) ** 2
                valid = ~np.isnan(difference)
                errors.append(difference[valid].sum() / max(1e-9, (weight * valid).sum()))
            moved.append(options[int(np.argmin(errors))])
        centres = np.array(moved)
    return centres


def windows_around(images: np.ndarray, centres: np.ndarray, half: int) -> np.ndarray:
    """(N, 2·half, 2·half, 3) float32 around the centres (N, 2); NaN outside the images."""
    height, width = images.shape[1:3]
    stack = np.full((len(images), 2 * half, 2 * half, 3), np.nan, np.float32)
    for window, image, (x, y) in zip(stack, images, centres.tolist(), strict=True):
        left, top = x - half, y - half
        a, b, c, d = max(0, left), max(0, top), min(width, left + 2 * half), min(height, top + 2 * half)
        if a < c and b < d:
            window[b - top : d - top, a - left : c - left] = image[b:d, a:c]
    return stack


def _agreeing_part(
    images: np.ndarray, centres: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The connected area around the centres in which the aligned images agree.

    Returns:
        The median patch (h, w, 3) of its bounding box, which of its pixels agree (h, w), and the box's top left corner
        from the centre.
    """
    half = max(images.shape[1:3]) // 2
    stack = windows_around(images, centres, half)
    present = (~np.isnan(stack[..., 0])).sum(0) >= max(3, 0.5 * len(images))
    stack[:, ~present] = 0
    median = np.nanmedian(stack, axis=0)
    spread = np.nanmedian(np.abs(stack - median), axis=0).mean(-1)
    unrelated = float(np.median(np.abs(images - np.median(images, axis=0)).mean(-1)))
    same = (spread < max(8.0, 0.35 * unrelated)) & present
    core = np.zeros_like(same)
    core[half - size // 2 : half + (size + 1) // 2, half - size // 2 : half + (size + 1) // 2] = True
    smooth = cv2.morphologyEx(((same | core) & present).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    smooth = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(smooth, connectivity=4)
    labels = parts[core & (smooth > 0)]
    area = parts == np.bincount(labels).argmax() if len(labels) else core
    # The edge of the patch is blurred: it belongs to the box, and its pixels do not count.
    rows, columns = np.nonzero(cv2.dilate(area.astype(np.uint8), np.ones((3, 3), np.uint8)) & present)
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return median[inside], area[inside], (int(columns.min()) - half, int(rows.min()) - half)
