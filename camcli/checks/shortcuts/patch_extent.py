"""From a window that recurs to the whole patch, and to all images that show it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from camcli.checks.shortcuts.matching import match
from camcli.checks.shortcuts.patterns import Box, Pattern, Search, in_shares

_LEVELS, _SHARES = (9.0, 13.0, 18.0), (0.35, 0.5, 0.65, 0.8)
"""Root mean square differences up to which two windows are the same: in levels of 0 to 255, and as a share of the
contrast of the window (its standard deviation)."""
_SCALES = (0.8, 0.9, 1.0, 1.12, 1.25)
"""Sizes at which the whole patch is looked for, relative to the one it was found at."""
_AGREEING = 0.5
"""Least share of the patch in which the images agree."""
_NOISE, _VARIATION = 5.0, 0.35
"""Largest deviation of the pixels of what is the same: in levels, and as a share of the patch's contrast. Stickers and
rulers have at most 0.26 of it, objects of one kind and patches of sky 0.31 to 3."""
_SPARSE = 0.5
"""Share of its box below which a patch is changed by its own pixels alone, as a frame, and not as a box."""


@dataclass(frozen=True)
class Window:
    """A window that recurs: its side, the chance of that, which images of the class match it, and where (top left)."""

    size: int
    chance: float
    images: np.ndarray
    places: np.ndarray


def tolerances(contrast: float) -> tuple[float, ...]:
    """Differences up to which other windows are the same as one of this contrast."""
    return (*_LEVELS, *(share * contrast for share in _SHARES))


def whole_patch(search: Search, window: Window) -> Pattern | None:
    """The whole patch around a window that recurs, and all images that show it; None where it is not the same in them.

    What recurs may be objects of one kind, which are alike and not the same: their pixels vary by more than a share of
    the patch's contrast once they are aligned.
    """
    centres = _align(search.own[window.images], window.places + window.size // 2, window.size)
    # What stands at one place may reach over the whole view, as a frame does.
    distances = np.abs(window.places - np.median(window.places, axis=0)).max(1)
    reach = max(search.own.shape[1:3]) if np.median(distances) < window.size else max(search.own.shape[1:3]) // 2
    part = _agreeing_part(search.own[window.images], centres, window.size, reach)
    pattern = locate(search, part.patch, part.area)
    if pattern is None:
        return None
    # Once more with all images that show it: what agrees in more images is a better patch.
    images = np.array(list(pattern.boxes))
    height, width = search.own.shape[1:3]
    corners = np.array([(x0 * width, y0 * height) for x0, y0, _, _ in pattern.boxes.values()]).round().astype(int)
    centres = _align(search.own[images], corners - np.array(part.offset), window.size)
    again = _agreeing_part(search.own[images], centres, window.size, reach)
    better = locate(search, again.patch, again.area)
    if better is not None and better.share >= pattern.share:
        pattern, part = better, again
    return pattern if part.is_same else None


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
    largest = max(tolerances(float(patch[same].std(0).mean())))
    pattern = search.separate(boxes, inside, outside, largest, len(inside))
    if pattern is None:
        return None
    filled = cv2.dilate(same.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return replace(pattern, mask=filled if filled.mean() < _SPARSE else None)


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
        stack[:, np.isnan(stack).all(0)] = 0  # outside of all images
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


@dataclass(frozen=True)
class _Part:
    """What aligned images have in common.

    Attributes:
        patch: (h, w, 3) float32, their median.
        area: (h, w) bool, the connected part of the box in which they agree.
        offset: x and y of the box's top left corner from the centre.
        agreeing: share of the area in which they agree to within the limit.
        spread: median over the area of the median absolute deviation of the pixels.
    """

    patch: np.ndarray
    area: np.ndarray
    offset: tuple[int, int]
    agreeing: float
    spread: float

    @property
    def is_same(self) -> bool:
        """Whether the pixels are nearly the same in all images."""
        contrast = float(self.patch[self.area].std(0).mean())
        return self.agreeing >= _AGREEING and self.spread <= max(_NOISE, _VARIATION * contrast)


def _agreeing_part(images: np.ndarray, centres: np.ndarray, size: int, half: int) -> _Part:
    """The connected area around the centres, at most ``half`` pixels away, in which the aligned images agree."""
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
    offset = int(columns.min()) - half, int(rows.min()) - half
    return _Part(median[inside], area[inside], offset, float(same[area].mean()), float(np.median(spread[area])))
