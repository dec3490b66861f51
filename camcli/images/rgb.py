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

The smallest of the ranges that holds all values is the one that counts; nothing is ever clipped. These are the pictures
that models of three channels get, and that are drawn on; a model of another number of channels gets :func:`own_bands`.
"""

from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from camcli.errors import ImageError
from camcli.images.bands import ASSUMED, Bands

_BITS, _FORMAT = 258, 339
_UNSIGNED, _SIGNED = 1, 2
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


def picture_and_bands(
    image: Image.Image, channels: int, *, keeps_all: bool
) -> tuple[Image.Image, Bands | None, tuple[str, ...]]:
    """The RGB picture of a loaded image, the bands that it does not show, and notes on what the model gets.

    Args:
        image: as Pillow loaded it.
        channels: of the model.
        keeps_all: whether bands are chosen by hand.

    Raises:
        ImageError: as :func:`to_rgb`.
    """
    bands = own_bands(image, channels, keeps_all=keeps_all)
    rgb, notes = to_rgb(image)
    return rgb, bands, notes if bands is None else ()


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
        return _from_lab(image) if mode == "LAB" else image.convert("RGB"), ()
    except (ValueError, KeyError) as error:
        raise ImageError("unsupported", f"pixels of kind {mode} cannot be converted to RGB: {error}") from error


def own_bands(image: Image.Image, channels: int, *, keeps_all: bool) -> Bands | None:
    """The bands of a loaded image that its RGB picture does not show in full: alpha, and grey of more than 8 bits.

    Args:
        image: as Pillow loaded it.
        channels: of the model; three get the picture.
        keeps_all: whether bands are chosen by hand.

    Returns:
        Grey as it is, for one channel; grey with alpha for two; RGBA for all others but three. None: the picture is
        all there is.
    """
    mode = image.mode
    if channels == 3 and not keeps_all:
        return None
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return Bands(np.asarray(image).astype(np.uint16)[:, :, None])
    if mode == "I" and _stored(image) == (16, _SIGNED):
        return Bands(np.asarray(image).astype(np.int16)[:, :, None])
    if mode == "F" or (mode == "I" and keeps_all):
        return Bands(np.array(image)[:, :, None])
    if (mode in _ALPHA_MODES or "transparency" in image.info) and (channels != 1 or keeps_all):
        has_two = mode in ("LA", "La") and channels != 4
        return Bands(np.array(_with_alpha(image, "LA" if has_two else "RGBA")))
    return None


def _from_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, _lab_to_rgb())
    assert converted is not None
    return converted


@cache
def _lab_to_rgb() -> Any:
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(*profiles, "LAB", "RGB")


def _with_alpha(image: Image.Image, mode: str = "RGBA") -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert(image.mode[:-1] + "A")
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):  # Pillow fails where a damaged file has it for more colours than there can be
        image.info["transparency"] = transparency[:256]
    return image.convert(mode)


def _from_range(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    with np.errstate(invalid="ignore"):  # NaN of the signalling kind, which damaged files have, are dealt with below
        pixels = np.asarray(image)
        values = (pixels.view(np.uint32) if _stored(image) == (32, _UNSIGNED) else pixels).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError("unsupported", "not one of its pixels is a finite number")
    low, high = float(values[finite].min()), float(values[finite].max())
    ceilings = (1.0, 255.0) if image.mode == "F" else (65535.0,) if image.format in ("PNG", "PPM") else (255.0,)
    ceiling = next((c for c in ceilings if low >= 0 and high <= c), None)
    notes: tuple[str, ...] = ()
    if ceiling is None:
        outside = f"grey values outside 0…{ceilings[-1]:g} are scaled, in each image by itself"
        notes = (
            f"{ASSUMED}{outside} (--bands 1: they are not)",
            f"its values {low:g}…{high:g} were scaled to black…white",
        )
    else:
        low, high = 0.0, ceiling
    values = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    # Halves first: the range of float32 extremes does not overflow then.
    share = (values / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    return _from_grey(np.rint(share * 255).astype(np.uint8)), notes


def _stored(image: Image.Image) -> tuple[int, int] | None:
    """Bits of a value and SampleFormat of grey in a TIFF file, which Pillow loads as signed integers of 32 bits."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or image.mode != "I":
        return None
    bits, kind = tags.get(_BITS, 1), tags.get(_FORMAT, _UNSIGNED)
    return tuple(int(value[0] if isinstance(value, tuple) else value) for value in (bits, kind))  # type: ignore[return-value]


def _from_grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values).convert("RGB")
