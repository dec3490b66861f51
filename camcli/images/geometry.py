"""What the model saw: resize, then crop or pad, and the way back to pixels of the original.

All preprocessing of classifiers has one form: the image is resized to whole pixels, and a window of the model's size is
laid over the result at a whole-pixel offset. A window that is smaller than the resized image crops, a larger one pads.
:class:`Placement` holds that form for one image; the rules that lead to it round as torchvision and timm do.

Coordinates are continuous: pixel (i, j) covers [j, j + 1) × [i, i + 1), so a whole image is (0, 0, width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]
"""(height, width) in pixels, as tensors have it."""


@dataclass(frozen=True, slots=True)
class View:
    """What the model's input covers, in upright original pixels: x0 ≤ x < x1, y0 ≤ y < y1.

    Reaches beyond the image where the input was padded.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0

    def scaled(self, sx: float, sy: float) -> View:
        """The same region of a picture that is ``sx`` times as wide and ``sy`` times as high."""
        return View(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy)

    def to_original(self, u: float, v: float) -> tuple[float, float]:
        """(x, y) in the original of a relative place in the input: (0, 0) is its top left, (1, 1) its bottom right."""
        return self.x0 + u * self.width, self.y0 + v * self.height

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """The inverse of :meth:`to_original`: the relative place (u, v) in the input of a point of the original."""
        return (x - self.x0) / self.width, (y - self.y0) / self.height


@dataclass(frozen=True, slots=True)
class Placement:
    """One image on its way into the model.

    Attributes:
        original: (height, width) of the upright original.
        resized: (height, width) it is resized to.
        window: (height, width) of the model's input.
        top, left: where the window begins in the resized image; negative where it is padded.
    """

    original: Size
    resized: Size
    window: Size
    top: int
    left: int

    @property
    def view(self) -> View:
        """The window in pixels of the original."""
        sy = self.original[0] / self.resized[0]
        sx = self.original[1] / self.resized[1]
        bottom, right = self.top + self.window[0], self.left + self.window[1]
        return View(self.left * sx, self.top * sy, right * sx, bottom * sy)


def restore_view(rounded: Sequence[float], original: Size, window: Size) -> View:
    """The view that was rounded to thousandths of a pixel, by the placement that it came from, where there is one.

    Args:
        rounded: x0, y0, x1, y1.
        original: (height, width) of the upright original.
        window: (height, width) of the model's input.
    """
    view = View(*rounded)
    resized = tuple(
        round(length * side / span) if span > 0 else 0
        for length, side, span in zip(window, original, (view.height, view.width), strict=True)
    )
    if min(resized) < 1:
        return view
    top, left = round(view.y0 * resized[0] / original[0]), round(view.x0 * resized[1] / original[1])
    exact = Placement(original, (resized[0], resized[1]), window, top, left).view
    ends = exact.x0, exact.y0, exact.x1, exact.y1
    is_it = all(round(end, 3) == known for end, known in zip(ends, rounded, strict=True))
    return exact if is_it else view


def place_centred(original: Size, resized: Size, window: Size) -> Placement:
    """The placement with the window over the middle of the resized image."""
    top, left = _centre_offset(resized[0], window[0]), _centre_offset(resized[1], window[1])
    return Placement(original, resized, window, top, left)


def _centre_offset(resized: int, window: int) -> int:
    # torchvision and timm round half to even when they crop, and put the odd pixel at the far end when they pad.
    if window > resized:
        return -((window - resized) // 2)
    return round((resized - window) / 2)


def shorter_side(image: Size, side: int) -> Size:
    """Resize so that the shorter side is ``side``; the longer one is cut to a whole pixel (torchvision's rule)."""
    height, width = image
    longer = int(side * max(image) / min(image))
    return (longer, side) if width <= height else (side, longer)


def covering(image: Size, box: Size) -> Size:
    """The smallest resize of the same shape that covers ``box``, rounded (timm's rule for oblong inputs)."""
    return _scale(image, min(image[0] / box[0], image[1] / box[1]))


def fitting(image: Size, box: Size) -> Size:
    """The largest resize of the same shape that fits into ``box``, rounded (timm's rule for borders)."""
    return _scale(image, max(image[0] / box[0], image[1] / box[1]))


def _scale(image: Size, ratio: float) -> Size:
    # A 2 × 9000 image would round to no pixels at all.
    return max(1, round(image[0] / ratio)), max(1, round(image[1] / ratio))
