"""Regions of an image: the boxes and masks of a manifest, in the geometry of a map or of the model's input.

A mask is an image file that covers the whole upright image; it may be larger or smaller, but not of another shape. Its
EXIF orientation is applied, as that of the image is. Non-zero pixels are foreground, which means, by the mode of the
file:

======================  ================================================================================================
mode                     foreground
======================  ================================================================================================
1, L, I, I;16, F        a value other than 0; NaN is background
P                       a palette index other than 0, whatever its colour
LA, PA, RGBA            as L, P, RGB: alpha does not count
RGB                     a value other than 0 in any channel
CMYK, YCbCr, HSV        a colour other than black, once converted to RGB: CMYK values are amounts of ink, all 0 is white
======================  ================================================================================================

Of a file with several frames or pages, the first is the mask.
"""

import io

import numpy as np
from PIL import Image, ImageOps

from camcli.errors import SourceError
from camcli.images.decode import image_formats
from camcli.images.entry import Box
from camcli.images.geometry import Size, View
from camcli.images.reading import read_path
from camcli.storage import masked

Region = Box | str
"""A box, or the path of a mask."""


def read_mask(path: str, image: Size) -> np.ndarray:
    """The foreground of a mask, upright: (height, width) bool.

    Args:
        path: of the mask.
        image: (height, width) of the upright image that it belongs to.

    Raises:
        SourceError: the mask cannot be read, or its shape is not that of the image.
    """
    try:
        # From bytes, as images are: Pillow maps some TIFF files that it opens by name into memory without turning them.
        with Image.open(io.BytesIO(read_path(path)), formats=image_formats()) as opened:
            mask = _foreground(ImageOps.exif_transpose(opened))
    except Exception as error:  # decoders raise nearly anything on a damaged file
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(
            f"mask {masked(path)}: cannot be read ({reason or error or type(error).__name__})."
        ) from error
    height, width = mask.shape
    # The difference that rounding both sizes to whole pixels makes is allowed.
    if abs(width * image[0] - height * image[1]) > max(image) + max(height, width):
        raise SourceError(
            f"mask {masked(path)} has {width}×{height} pixels and its image {image[1]}×{image[0]}: the shapes differ. "
            "A mask covers the whole upright image."
        )
    return mask


def cells_of_region(region: Region, image: Size, view: View, grid: Size) -> np.ndarray:
    """The share of each cell of a map over ``view`` that lies in the region: (rows, columns) in [0, 1].

    Raises:
        SourceError: a mask that cannot be used, as in :func:`read_mask`.
    """
    if isinstance(region, str):
        return cells_of_mask(read_mask(region, image), image, view, grid)
    return cells_of_box(region, view, grid)


def cells_of_box(box: Box, view: View, grid: Size) -> np.ndarray:
    """The share of each cell of a map over ``view`` that a box covers: (rows, columns) in [0, 1]."""

    def covered(low: float, high: float, start: float, end: float, n: int) -> np.ndarray:
        edges = np.linspace(start, end, n + 1)
        share: np.ndarray = np.diff(np.clip(edges, low, high)) / ((end - start) / n)
        return share

    across = covered(box[0], box[2], view.x0, view.x1, grid[1])
    return np.outer(covered(box[1], box[3], view.y0, view.y1, grid[0]), across)


def cells_of_mask(mask: np.ndarray, image: Size, view: View, grid: Size) -> np.ndarray:
    """The share of each cell of a map over ``view`` that is foreground: (rows, columns) in [0, 1].

    Args:
        mask: (height, width) bool, of the whole image at any resolution.
        image: (height, width) of the upright original.
        view: what the map covers, in pixels of the original.
        grid: rows and columns of the map.
    """
    height, width = mask.shape
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = mask.cumsum(0, dtype=np.float64).cumsum(1)
    rows = np.linspace(view.y0, view.y1, grid[0] + 1) * height / image[0]
    columns = np.linspace(view.x0, view.x1, grid[1] + 1) * width / image[1]
    # The area of the mask above and left of any (y, x) is bilinear within a pixel, so cells are exact at any edge.
    corner = _interpolate(_interpolate(total, rows).T, columns).T
    area = (rows[1] - rows[0]) * (columns[1] - columns[0])
    inside: np.ndarray = np.diff(np.diff(corner, axis=0), axis=1) / area
    return inside


def pixels_of_region(region: Region, image: Size, view: View, size: Size) -> np.ndarray:
    """The pixels of the model's input whose centre lies in the region: (height, width) bool.

    What lies outside the view is left out, so the result may be empty.

    Args:
        region: a box or a mask.
        image: (height, width) of the upright original.
        view: what the input covers, in pixels of the original.
        size: (height, width) of the input.

    Raises:
        SourceError: a mask that cannot be used, as in :func:`read_mask`.
    """
    x = view.x0 + (np.arange(size[1]) + 0.5) / size[1] * view.width
    y = view.y0 + (np.arange(size[0]) + 0.5) / size[0] * view.height
    if isinstance(region, str):
        return _sample(read_mask(region, image), x / image[1], y / image[0])
    x0, y0, x1, y1 = region
    return np.outer((y >= y0) & (y < y1), (x >= x0) & (x < x1))


def _foreground(mask: Image.Image) -> np.ndarray:
    if mask.mode in ("LA", "PA"):
        mask = mask.getchannel(0)
    elif mask.mode not in ("1", "L", "P", "I", "F") and not mask.mode.startswith("I;16"):
        mask = mask.convert("RGB")
    pixels = np.nan_to_num(np.asarray(mask))
    foreground: np.ndarray = pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0
    return foreground


def _interpolate(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The rows of ``values`` at fractional positions, linear between neighbours, clipped to the ends."""
    positions = np.clip(positions, 0, len(values) - 1)
    low = np.minimum(positions.astype(np.int64), len(values) - 2)
    part = (positions - low)[:, None]
    rows: np.ndarray = values[low] * (1 - part) + values[low + 1] * part
    return rows


def _sample(mask: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The mask at relative positions (u, v) in [0, 1); False outside."""
    rows, columns = np.floor(v * mask.shape[0]).astype(int), np.floor(u * mask.shape[1]).astype(int)
    inside = np.outer((v >= 0) & (v < 1), (u >= 0) & (u < 1))
    clipped = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
    sampled: np.ndarray = clipped & inside
    return sampled
