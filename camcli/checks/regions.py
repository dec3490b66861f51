"""Masks and boxes of a manifest, as shares of the cells of a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camcli.checks.recorded import ImageRecord, RecordedRun
from camcli.checks.run_paths import as_typed, located
from camcli.errors import CamError, SourceError
from camcli.images import Sources, View

Box = tuple[float, float, float, float]
Region = Box | str
"""x0, y0, x1, y1 in upright original pixels, or the path of a mask whose non-zero pixels count."""


def cells_of_box(box: Box, view: View, grid: tuple[int, int]) -> np.ndarray:
    """Share of each cell of a map over ``view`` that a box covers: (h, w) in [0, 1]."""

    def covered(low: float, high: float, start: float, end: float, n: int) -> np.ndarray:
        edges = np.linspace(start, end, n + 1)
        share: np.ndarray = np.diff(np.clip(edges, low, high)) / ((end - start) / n)
        return share

    across = covered(box[0], box[2], view.x0, view.x1, grid[1])
    return np.outer(covered(box[1], box[3], view.y0, view.y1, grid[0]), across)


def cells_of_mask(mask: np.ndarray, size: tuple[int, int], view: View, grid: tuple[int, int]) -> np.ndarray:
    """The same of a mask (height, width), which is stretched over the image where it has another size.

    Args:
        mask: boolean.
        size: (width, height) of the upright original.
        view: what the map covers, in its pixels.
        grid: rows and columns of the map.
    """
    height, width = mask.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = mask.cumsum(0, dtype=np.float64).cumsum(1)
    rows = np.linspace(view.y0, view.y1, grid[0] + 1) * height / size[1]
    columns = np.linspace(view.x0, view.x1, grid[1] + 1) * width / size[0]
    # The area of the mask above and left of any (y, x) is bilinear within a pixel, so cells are exact at any edge.
    corner = _between(_between(total, rows).T, columns).T
    area = (rows[1] - rows[0]) * (columns[1] - columns[0])
    inside: np.ndarray = np.diff(np.diff(corner, axis=0), axis=1) / area
    return inside


def _between(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The rows of ``values`` at fractional places, linear between neighbours, clipped to the ends."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(np.int64), len(values) - 2)
    part = (places - low)[:, None]
    found: np.ndarray = values[low] * (1 - part) + values[low + 1] * part
    return found


def read_mask(path: str) -> np.ndarray:
    """A mask file: (height, width) boolean, non-zero in any colour channel.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            alpha = opened.mode in ("LA", "RGBA")
            pixels = np.asarray(opened.convert(opened.mode[:-1]) if alpha else opened)
    except (OSError, ValueError) as error:
        raise SourceError(f"the mask {path} cannot be read ({error}).") from error
    return np.asarray(pixels.any(2) if pixels.ndim == 3 else pixels != 0)


@dataclass(frozen=True)
class Regions:
    """What the manifests of a run say of its images.

    Attributes:
        run: the run, whose ``--image-path`` may be or hold manifests.
        manifest: another manifest to take them from, matched by the name of the image.
    """

    run: RecordedRun
    manifest: str | None = None

    def foreground(self, record: ImageRecord) -> Region | None:
        """The object of an image: its mask, else its box."""
        return self._found.get(self._key(record), (None, None))[0]

    def forbidden(self, record: ImageRecord) -> Region | None:
        """What the model must not look at in an image: the manifest's ``avoid``."""
        return self._found.get(self._key(record), (None, None))[1]

    def cells(self, region: Region, record: ImageRecord, grid: tuple[int, int]) -> np.ndarray:
        """Share of each cell of a map of the image that lies in the region."""
        if isinstance(region, str):
            return cells_of_mask(read_mask(region), record.size, record.view, grid)
        return cells_of_box(region, record.view, grid)

    @property
    def problem(self) -> str | None:
        """Why the manifests of the run cannot be read (any more), or None."""
        try:
            _ = self._found
        except CamError as error:
            return str(error)
        return None

    def _key(self, record: ImageRecord) -> tuple[str, str]:
        image, source = record.name
        return (image, "") if self.manifest else (image, source)

    @cached_property
    def _found(self) -> dict[tuple[str, str], tuple[Region | None, Region | None]]:
        return dict(self._read())

    def _read(self) -> Iterator[tuple[tuple[str, str], tuple[Region | None, Region | None]]]:
        for path in [self.manifest] if self.manifest else self._manifests():
            for entry in as_typed(self.run, Sources([path])):
                region: Any = entry.mask or entry.box
                if region is not None or entry.avoid is not None:
                    key = (entry.image, "" if self.manifest else entry.source)
                    yield key, (region, entry.avoid)

    def _manifests(self) -> list[str]:
        paths = self.run.header["config"]["image_path"]
        return [located(self.run, path) for path in paths if Path(path).suffix.lower() in (".csv", ".jsonl")]
