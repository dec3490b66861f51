"""The pixels of a :class:`Placement`: Pillow's resize, then a window cut out of the result or padded around it.

Values that are no 8-bit picture are resized in Pillow's mode F, band by band: the same filters in float32.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from camcli.images.geometry import Placement

INTERPOLATIONS = tuple(mode.name.lower() for mode in Image.Resampling)
"""Names of Pillow's filters, all of them antialiased but ``nearest``."""

_MAX_RESIZED = 1 << 25  # pixels; a 1 × 60,000 image would otherwise be resized to 224 × 13 million before its crop


def window_pixels(
    image: Image.Image, at: Placement, interpolation: str, fill: tuple[int, ...], channels: int
) -> np.ndarray:
    """Resize, crop or pad a picture, for a model of one channel or three.

    Args:
        image: upright, RGB.
        at: where it goes.
        interpolation: one of :data:`INTERPOLATIONS`.
        fill: colour of padding, 0–255, one value a channel.
        channels: 1 (grey by ITU-R 601 luma) or 3.

    Returns:
        (window height, window width, channels) uint8.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:  # converting to the same mode would copy it
        image = image.convert(mode)
    image = _window(image, at, interpolation, fill[0] if channels == 1 else fill)
    return np.ascontiguousarray(np.array(image).reshape(*at.window, -1))


def window_bands(bands: Iterable[np.ndarray], at: Placement, interpolation: str, fill: Sequence[float]) -> np.ndarray:
    """The same for any number of bands, each resized by itself.

    Args:
        bands: (height, width) uint8 or float32 each, all of one type.
        at: where they go.
        interpolation: one of :data:`INTERPOLATIONS`.
        fill: value of padding, one a band, in the units of the values.

    Returns:
        (window height, window width, bands), of the type of the bands.
    """
    windows = [
        np.asarray(_window(Image.fromarray(band), at, interpolation, colour))
        for band, colour in zip(bands, fill, strict=True)
    ]
    return np.stack(windows, axis=-1)


def _window(image: Image.Image, at: Placement, interpolation: str, fill: float | tuple[int, ...]) -> Image.Image:
    height, width = at.window
    inside = (max(0, at.left), max(0, at.top), min(at.resized[1], at.left + width), min(at.resized[0], at.top + height))
    image = _resized_part(image, at, inside, Image.Resampling[interpolation.upper()])
    if image.size == (width, height):
        return image
    canvas = Image.new(image.mode, (width, height), fill)
    canvas.paste(image, (inside[0] - at.left, inside[1] - at.top))
    return canvas


def _resized_part(
    image: Image.Image, at: Placement, inside: tuple[int, int, int, int], mode: Image.Resampling
) -> Image.Image:
    if at.resized[0] * at.resized[1] <= _MAX_RESIZED:
        if (image.height, image.width) != at.resized:
            image = image.resize(at.resized[::-1], mode)
        return image.crop(inside)
    # The same up to rounding, without the pixels outside the window.
    sx, sy = image.width / at.resized[1], image.height / at.resized[0]
    box = (inside[0] * sx, inside[1] * sy, min(inside[2] * sx, image.width), min(inside[3] * sy, image.height))
    return image.resize((inside[2] - inside[0], inside[3] - inside[1]), mode, box=box)
