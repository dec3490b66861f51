"""Boxes and masks of a manifest, where the model sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps

from camcli.errors import SourceError
from camcli.images import View
from camcli.pipeline.items import Loaded

_GREY = ("1", "L", "I", "I;16", "F")


def regions_of(images: Sequence[Loaded], size: tuple[int, int]) -> torch.Tensor | None:
    """The objects in the geometry of the inputs: (N, H, W) bool; None where no image has a box or mask.

    A mask beats a box. What the model does not see of an object is left out; an object of which nothing is seen
    leaves an empty region, as does an image without box and mask.

    Raises:
        SourceError: a mask that cannot be read, or that is not a mask of its image.
    """
    if all(image.entry.mask is None and image.entry.box is None for image in images):
        return None
    return torch.from_numpy(np.stack([region_of(image, size) for image in images]))


def region_of(image: Loaded, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels of the input whose centre lies on the object."""
    metadata, entry = image.metadata, image.entry
    x, y = _centres(image.view, size)
    if entry.mask is not None:
        mask = read_mask(entry.mask, (metadata.height, metadata.width))
        return _sampled(mask, x / metadata.width, y / metadata.height)
    if entry.box is None:
        return np.zeros(size, bool)
    x0, y0, x1, y1 = entry.box
    return np.outer((y >= y0) & (y < y1), (x >= x0) & (x < x1))


def read_mask(path: str, image: tuple[int, int]) -> np.ndarray:
    """A mask's foreground (non-zero, any channel but alpha), upright: (height, width) bool.

    Args:
        path: of the mask.
        image: (height, width) of its upright image. The mask may be larger or smaller, not of another shape.

    Raises:
        SourceError: it cannot be read, or has another shape.
    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode == "P":  # an annotation's palette: the index counts, not the colour
                mask = np.asarray(upright) != 0
            else:
                pixels = np.asarray(upright if upright.mode in _GREY else upright.convert("RGB"))
                mask = pixels.reshape(*pixels.shape[:2], -1).any(axis=2)
    except OSError as error:
        raise SourceError(f"mask {path}: cannot be read ({error.strerror or error}).") from error
    height, width = mask.shape
    if abs(width * image[0] - height * image[1]) > max(image) + max(height, width):
        raise SourceError(
            f"mask {path} has {width}×{height} pixels and its image {image[1]}×{image[0]}: the shapes differ. "
            "A mask covers the whole upright image."
        )
    foreground: np.ndarray = mask
    return foreground


def _centres(view: View, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x of every column and y of every row of the input, in upright original pixels."""
    height, width = size
    x = view.x0 + (np.arange(width) + 0.5) / width * view.width
    y = view.y0 + (np.arange(height) + 0.5) / height * view.height
    return x, y


def _sampled(mask: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The mask at relative places (u, v) in [0, 1); False outside."""
    rows, columns = np.floor(v * mask.shape[0]).astype(int), np.floor(u * mask.shape[1]).astype(int)
    inside = np.outer((v >= 0) & (v < 1), (u >= 0) & (u < 1))
    clipped = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
    seen: np.ndarray = clipped & inside
    return seen
