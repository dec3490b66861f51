"""Search for a fixed region of the image that attracts the maps of a class, and painting over of such a region."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from camcli.checks.distances import mass
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.stats import hypergeometric_tail

SIGNIFICANCE = 0.01
"""Significance level of a spot, corrected for the number of windows and classes (Bonferroni)."""


@dataclass(frozen=True)
class Spot:
    """A region that stands out for a class.

    Attributes:
        target, name: the class.
        rows, columns: the window's cells, half-open.
        grid: of the map.
        share: of the class's images whose peak is in it; ``others``: of all other images.
        images: those of the class with their peak in it.
    """

    target: int
    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    grid: tuple[int, int]
    share: float
    others: float
    images: tuple[ImageRecord, ...]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 as shares of what the model saw."""
        (top, bottom), (left, right), (h, w) = self.rows, self.columns, self.grid
        return left / w, top / h, right / w, bottom / h

    @property
    def place(self) -> str:
        """``top left``, for people."""
        x0, y0, x1, y1 = self.box
        thirds = [min(2, int(3 * (low + high) / 2)) for low, high in ((y0, y1), (x0, x1))]
        words = f"{('top', 'middle', 'bottom')[thirds[0]]} {('left', 'centre', 'right')[thirds[1]]}"
        return "centre" if words == "middle centre" else words

    def as_json(self) -> dict[str, Any]:
        box = [round(edge, 4) for edge in self.box]
        return {"class": self.name, "region": box, "share": self.share, "others": self.others, "n": len(self.images)}


def find_spots(images: list[tuple[ImageRecord, SaliencyMap]], settings: Mapping[str, Any]) -> list[Spot]:
    """For every class the region that stands out most, if one does; the most striking first."""
    grid = images[0][1].raw.shape
    peaks = np.array([int(np.argmax(heat.raw)) if heat.raw.shape == grid else -1 for _, heat in images])
    targets = np.array([heat.target for _, heat in images])
    rows, columns = peaks // grid[1], peaks % grid[1]
    classes, counts = np.unique(targets, return_counts=True)
    large_classes = classes[counts >= settings["class_images"]]
    windows = _windows((grid[0], grid[1]), settings["area"])
    spots: list[tuple[float, Spot]] = []
    for target in large_classes.tolist():
        own = targets == target
        best: tuple[float, Spot] | None = None
        for top, left, h, w in windows:
            inside = (rows >= top) & (rows < top + h) & (columns >= left) & (columns < left + w) & (peaks >= 0)
            share, others = float(inside[own].mean()), float(inside[~own].mean())
            if share < settings["share"] or share < settings["ratio"] * others:
                continue
            chance = hypergeometric_tail(int(inside[own].sum()), int(own.sum()), int(inside.sum()), len(images))
            if chance * len(windows) * len(large_classes) < SIGNIFICANCE and (best is None or chance < best[0]):
                name = images[int(np.flatnonzero(own)[0])][1].target_name or f"class {target}"
                window = (top, top + h), (left, left + w)
                inside_images = tuple(images[i][0] for i in np.flatnonzero(inside & own))
                best = chance, Spot(target, name, *window, (grid[0], grid[1]), share, others, inside_images)
        if best is not None:
            spots.append(best)
    return [spot for _, spot in sorted(spots, key=lambda pair: pair[0])]


def _windows(grid: tuple[int, int], area: float) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every window of cells within the area, small ones first."""
    most = int(grid[0] * grid[1] * area + 1e-9)
    shapes = [(h, w) for h in range(1, grid[0] + 1) for w in range(1, grid[1] + 1) if h * w <= most]
    return [
        (top, left, h, w)
        for h, w in sorted(shapes, key=lambda shape: shape[0] * shape[1])
        for top in range(grid[0] - h + 1)
        for left in range(grid[1] - w + 1)
    ]


def hot_cells(maps: list[np.ndarray], spot: Spot, most: float) -> np.ndarray:
    """The cells to paint over: the spot, and the cells connected with it that are about as hot on average.

    Args:
        maps: raw maps of the spot's images.
        spot: whose window is included in any case.
        most: largest share of the map.
    """
    mean = np.mean([mass(raw) for raw in maps], axis=0)
    window = np.zeros(spot.grid, bool)
    window[slice(*spot.rows), slice(*spot.columns)] = True
    # The lowest level whose region is small enough: painting over more than the mark would lower any probability.
    for level in (0.5, 0.6, 0.7, 0.8, 0.9):
        _, parts = cv2.connectedComponents(
            ((mean >= level * mean[window].max()) | window).astype(np.uint8), connectivity=4
        )
        cells: np.ndarray = np.isin(parts, np.unique(parts[window]))
        if cells.mean() <= most:
            return cells
    return window


def paint_over(image: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """An image (C, H, W) float32 whose cells (h, w) boolean are filled with the blur of their surroundings.

    Only pixels outside enter the blur: otherwise a bright mark would remain visible in its own replacement.
    """
    height, width = image.shape[1:]
    region = cv2.resize(cells.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
    outside = (~region).astype(np.float32)
    sigma = 20 / 224 * max(height, width)
    weight = cv2.GaussianBlur(outside, (0, 0), sigma)
    result = image.copy()
    for channel, values in zip(result, image, strict=True):
        blurred = cv2.GaussianBlur(values * outside, (0, 0), sigma) / np.maximum(weight, 1e-6)
        channel[region] = blurred[region]
    return result
