"""What a map is drawn on: the upright original, or the part of it that the model saw; and where the map goes on it."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from camcli.images import View

OUTSIDE_BRIGHTNESS = 0.5
"""Brightness of what is outside the model's view."""
_FRAME = 512
"""Pixels of the longer side for each pixel of the frame around the view."""


@dataclass(frozen=True)
class Canvas:
    """What a map is drawn on.

    Attributes:
        pixels: (height, width, 3) uint8 BGR, the upright original, shrunk where ``--max-side`` asks for it.
        view: what the model saw, in pixels of ``pixels``.
    """

    pixels: np.ndarray
    view: View

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def resized(self, height: int, width: int) -> "Canvas":
        """The same in another size; where it is enlarged to eight times or more, its pixels stay visible."""
        if (height, width) == self.size:
            return self
        scale = max(height, width) / max(self.size)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 8 else cv2.INTER_CUBIC
        pixels = cv2.resize(self.pixels, (width, height), interpolation=how)
        return Canvas(pixels, self.view.scaled(width / self.size[1], height / self.size[0]))


def draw_on(image: Image.Image, view: View, size: tuple[int, int], max_side: int, only_view: bool = False) -> Canvas:
    """The canvas of an upright image.

    Args:
        image: the picture, which may be smaller than its original.
        view: what the model saw, in pixels of the original.
        size: (width, height) of the original.
        max_side: longest side of the canvas; 0: that of the picture.
        only_view: draw the part that the model saw, and nothing else.
    """
    view = view.scaled(image.width / size[0], image.height / size[1])
    if only_view:
        left, top, right, bottom = _seen(view, image.width, image.height)
        view = View(view.x0 - left, view.y0 - top, view.x1 - left, view.y1 - top)
        image = image.crop((left, top, right, bottom))
    return make_canvas(np.asarray(_reduce(image, max_side)), view, max_side, (image.height, image.width))


def make_canvas(rgb: np.ndarray, view: View, max_side: int, size: tuple[int, int] | None = None) -> Canvas:
    """Shrink an upright original, (height, width, 3) uint8 RGB, to the canvas its maps are drawn on.

    Args:
        rgb: the original, or the same in smaller.
        view: what the model saw, in pixels of the original.
        max_side: longest side of the canvas; 0: that of the original.
        size: (height, width) of the original, where ``rgb`` is smaller.
    """
    height, width = size or rgb.shape[:2]
    shrink = min(1.0, max_side / max(height, width)) if max_side else 1.0
    new = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    if rgb.shape[:2] != new:
        rgb = cv2.resize(rgb, new[::-1], interpolation=cv2.INTER_AREA)
    return Canvas(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), view.scaled(new[1] / width, new[0] / height))


def place(heat: np.ndarray, model_size: tuple[int, int], canvas: Canvas) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Upsample a normalised map to the model's input, and sample it at the pixels of the canvas in the view.

    Args:
        heat: (h, w) float32, normalised.
        model_size: (H, W) of the model's input.
        canvas: where it goes.

    Returns:
        The part of the map that is on the canvas, at its resolution, float32; and the rows and columns of the canvas
        that it covers: those whose pixel centres are in the view.
    """
    height, width = canvas.size
    v = canvas.view
    x0, x1 = _inside(v.x0, v.x1, width)
    y0, y1 = _inside(v.y0, v.y1, height)
    inside = (slice(y0, max(y0, y1)), slice(x0, max(x0, x1)))
    if x1 <= x0 or y1 <= y0:
        return np.zeros((max(0, y1 - y0), max(0, x1 - x0)), np.float32), inside
    upsampled = cv2.resize(heat, (model_size[1], model_size[0]), interpolation=cv2.INTER_LINEAR)
    # Inverse map from a pixel of the inside rectangle to the input, between pixel centres.
    sx, sy = model_size[1] / (v.x1 - v.x0), model_size[0] / (v.y1 - v.y0)
    inverse = np.array([[sx, 0, (x0 + 0.5 - v.x0) * sx - 0.5], [0, sy, (y0 + 0.5 - v.y0) * sy - 0.5]], dtype=np.float64)
    patch: np.ndarray = cv2.warpAffine(
        upsampled, inverse, (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return patch, inside


def frame_width(size: tuple[int, int]) -> int:
    """Pixels of the frame around the view, on a canvas of this size."""
    return max(1, round(max(size) / _FRAME))


def framed(pixels: np.ndarray, inside: tuple[slice, slice], value: int = 255) -> np.ndarray:
    """Draw the frame around the view, outside of it, into a picture; where the view reaches the edge there is none."""
    rows, columns = inside
    if rows.stop > rows.start and columns.stop > columns.start:
        width = frame_width(pixels.shape[:2])
        top, left = max(0, rows.start - width), max(0, columns.start - width)
        pixels[top : rows.start, left : columns.stop + width] = value
        pixels[rows.stop : rows.stop + width, left : columns.stop + width] = value
        pixels[rows, left : columns.start] = value
        pixels[rows, columns.stop : columns.stop + width] = value
    return pixels


def dim(pixels: np.ndarray) -> np.ndarray:
    """What the model did not see; uint8."""
    return cv2.convertScaleAbs(pixels, alpha=OUTSIDE_BRIGHTNESS)


def _inside(start: float, end: float, length: int) -> tuple[int, int]:
    """The first pixel whose centre is in a span, and the one after the last."""
    return max(0, int(np.ceil(start - 0.5))), min(length, int(np.ceil(end - 0.5)))


def _seen(view: View, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of an image that the model saw, at least a pixel."""
    (left, right), (top, bottom) = _inside(view.x0, view.x1, width), _inside(view.y0, view.y1, height)
    left, top = min(left, width - 1), min(top, height - 1)
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _reduce(image: Image.Image, side: int) -> Image.Image:
    """A large image at a whole fraction of its size, ``side`` or more; in one step, all its pixels would be copied."""
    fraction = max(image.size) // side if side else 1
    return image.reduce(fraction) if fraction > 1 else image
