"""The pixels of a :class:`Placement`: Pillow's resize, then a window cut out of the result or padded around it."""

import numpy as np
from PIL import Image

from camcli.images.geometry import Placement

INTERPOLATIONS = tuple(mode.name.lower() for mode in Image.Resampling)
"""Names of Pillow's filters, all of them antialiased but ``nearest``."""

_MAX_RESIZED = 1 << 25  # pixels; a 1 × 60,000 image would otherwise be resized to 224 × 13 million before its crop


def window_pixels(
    image: Image.Image, at: Placement, interpolation: str, fill: tuple[int, ...], channels: int
) -> np.ndarray:
    """Resize, crop or pad, and adapt the channels.

    Args:
        image: upright, RGB.
        at: where it goes.
        interpolation: one of :data:`INTERPOLATIONS`.
        fill: colour of padding, 0–255, one value (for one channel) or three.
        channels: 1 (grey by ITU-R 601 luma), 3, or another count, for which R, G, B, R, … are repeated as timm repeats
            the weights of a first layer.

    Returns:
        (window height, window width, channels) uint8.
    """
    height, width = at.window
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:  # converting to the same mode would copy it
        image = image.convert(mode)
    inside = (max(0, at.left), max(0, at.top), min(at.resized[1], at.left + width), min(at.resized[0], at.top + height))
    image = _resized_part(image, at, inside, Image.Resampling[interpolation.upper()])
    if image.size != (width, height):
        canvas = Image.new(image.mode, (width, height), fill[0] if channels == 1 else fill)
        canvas.paste(image, (inside[0] - at.left, inside[1] - at.top))
        image = canvas
    pixels = np.array(image).reshape(height, width, -1)
    if channels not in (1, 3):
        pixels = pixels[:, :, np.arange(channels) % 3]
    return np.ascontiguousarray(pixels)


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
