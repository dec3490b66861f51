"""Every kind of pixel becomes 8-bit RGB, by these rules:

======================  ================================================================================================
mode of the file         rule
======================  ================================================================================================
RGB, grey, palette      as Pillow converts them; embedded colour profiles are not applied, as in torchvision and timm
CMYK, YCbCr             as Pillow converts them (inverted CMYK of Adobe JPEGs included)
alpha of any kind       laid over white (RGBA, LA, PA, a palette entry or a colour declared transparent)
1-bit                   black and white
16-bit grey             65535 is white: divided by 257 and rounded, whatever the image's own range
32-bit integer          of PNG and PPM, up to 65535: as 16-bit; elsewhere 0…255 as it stands, else the image's own
                        minimum…maximum
32-bit float            0…1 as a share of white, 0…255 as it stands, else the image's own minimum…maximum; NaN is black,
                        and infinities are cut to the finite extremes
======================  ================================================================================================

The smallest of the ranges that holds all values is the one that counts; nothing is ever clipped.
"""

import numpy as np
from PIL import Image

from camcli.errors import ImageError

_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a loaded image to RGB; with notes where the conversion depended on its own values.

    Raises:
        ImageError: ``unsupported``: no conversion is known, or not one pixel is a finite number.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return _from_grey(((values + 128) // 257).astype(np.uint8)), ()
    if mode in ("I", "F"):
        return _from_range(image)
    if mode in _ALPHA_MODES or "transparency" in image.info:
        rgba = _with_alpha(image)
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB"), ()
    if mode == "RGB":  # converting it would copy it
        return image, ()
    try:
        return image.convert("RGB"), ()
    except (ValueError, KeyError) as error:
        raise ImageError("unsupported", f"pixels of kind {mode} cannot be converted to RGB: {error}") from error


def _with_alpha(image: Image.Image) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert(image.mode[:-1] + "A")
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):  # Pillow fails where a damaged file has it for more colours than there can be
        image.info["transparency"] = transparency[:256]
    return image.convert("RGBA")


def _from_range(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    with np.errstate(invalid="ignore"):  # NaN of the signalling kind, which damaged files have, are dealt with below
        values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError("unsupported", "not one of its pixels is a finite number")
    low, high = float(values[finite].min()), float(values[finite].max())
    ceilings = (1.0, 255.0) if image.mode == "F" else (65535.0,) if image.format in ("PNG", "PPM") else (255.0,)
    ceiling = next((c for c in ceilings if low >= 0 and high <= c), None)
    notes: tuple[str, ...] = ()
    if ceiling is None:
        notes = (f"its values {low:g}…{high:g} were scaled to black…white",)
    else:
        low, high = 0.0, ceiling
    values = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    # Halves first: the range of float32 extremes does not overflow then.
    share = (values / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    return _from_grey(np.rint(share * 255).astype(np.uint8)), notes


def _from_grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values).convert("RGB")
