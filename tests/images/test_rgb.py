"""Every mode of pixels becomes RGB: transparency over white, deep and float values scaled and never saturated."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from camcli.images import decode
from tests.images.decoding import failure, pixels
from tests.images.files import encoded, gradient, photo


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_alpha_lies_over_white(mode: str) -> None:
    rgba = Image.new("RGBA", (20, 10), (0, 0, 0, 255))
    rgba.paste((0, 0, 0, 0), (0, 0, 10, 10))  # the left half is transparent black
    if mode == "P":
        palette = Image.new("P", (20, 10), 1)
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.paste(0, (0, 0, 10, 10))
        data = encoded(palette, "PNG", transparency=0)
    elif mode == "PA":
        image = rgba.convert("PA")
        data = encoded(image.convert("LA"), "TIFF")
    else:
        data = encoded(rgba.convert(mode), "PNG")
    seen = pixels(decode(data))
    assert (seen[:, :10] == 255).all()
    assert (seen[:, 10:] == 0).all()


def test_transparency_of_more_colours_than_a_palette_has_is_cut() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    data = encoded(palette, "PNG", transparency=bytes([0]) + bytes([255] * 255))
    at = data.index(b"tRNS")
    longer = b"tRNS" + bytes([0]) + bytes([255] * 299)
    damaged = data[: at - 4] + struct.pack(">I", 300) + longer + struct.pack(">I", zlib.crc32(longer))
    damaged += data[data.index(b"IDAT") - 4 :]
    assert (pixels(decode(damaged)) == [10, 20, 30]).all()


def test_half_transparent_is_half_white() -> None:
    seen = pixels(decode(encoded(Image.new("RGBA", (4, 4), (100, 0, 200, 128)), "PNG")))
    assert np.abs(seen[0, 0].astype(int) - [177, 127, 227]).max() <= 1


def test_a_colour_declared_transparent_is_white() -> None:
    image = photo()
    image.paste((1, 2, 3), (0, 0, 10, 10))
    seen = pixels(decode(encoded(image, "PNG", transparency=(1, 2, 3))))
    assert (seen[:10, :10] == 255).all()
    assert np.array_equal(seen[20:], np.asarray(image)[20:])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    decoded = decode(encoded(photo().convert("CMYK"), kind, **({"quality": 95} if kind == "JPEG" else {})))
    assert np.abs(pixels(decoded).astype(int) - np.asarray(photo())).mean() < 4


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(gradient() > 0.5)
    assert set(np.unique(pixels(decode(encoded(image, "PNG"))))) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_range(kind: str) -> None:
    values = np.rint(gradient() * 65535).astype(np.uint16)
    seen = pixels(decode(encoded(Image.fromarray(values), kind)))[0, :, 0]
    assert np.array_equal(seen, np.arange(256))
    dim = pixels(decode(encoded(Image.fromarray(values // 4), kind)))[0, :, 0]
    assert dim.max() == 64


@pytest.mark.parametrize(
    ("low", "high", "rule"),
    [
        (0.0, 1.0, "share"),
        (0.0, 255.0, "own"),
        (0.0, 1000.0, "stretched"),
        (-3.0, 5.0, "stretched"),
        (0.0, 3e38, "stretched"),
        (-3e38, 3e38, "stretched"),
    ],
)
def test_floats_are_scaled_and_never_saturated(low: float, high: float, rule: str) -> None:
    values = (low + gradient() * (high - low)).astype(np.float32)
    decoded = decode(encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(pixels(decoded)[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert bool(decoded.metadata.notes) == (rule == "stretched")


def test_a_dim_float_image_stays_dim() -> None:
    assert pixels(decode(encoded(Image.fromarray((gradient() * 0.5).astype(np.float32)), "TIFF"))).max() == 128


def test_floats_that_are_no_numbers() -> None:
    values = gradient().astype(np.float32).copy()
    values[0, :3] = np.nan, np.inf, -np.inf
    seen = pixels(decode(encoded(Image.fromarray(values), "TIFF")))
    assert seen[0, :3, 0].tolist() == [0, 255, 0]
    none = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    assert failure(encoded(none, "TIFF")).kind == "unsupported"


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 65535), (-(2**31), 2**31 - 1), (7, 300)])
def test_integers_are_scaled_and_never_saturated(low: int, high: int) -> None:
    values = (low + gradient() * (high - low)).astype(np.int64).astype(np.int32)
    seen = pixels(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0]
    assert np.abs(seen.astype(int) - np.arange(256)).max() <= 1


@pytest.mark.filterwarnings("error")
def test_nan_of_the_signalling_kind_is_no_warning() -> None:
    """As damaged files have it; numpy warns of it on the way to double precision."""
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    plain = pixels(decode(encoded(Image.fromarray(values), "TIFF")))
    values.view(np.uint32)[0, 0] = 0x7F800001
    data = encoded(Image.fromarray(values), "TIFF")
    assert np.array_equal(pixels(decode(data))[1:], plain[1:])
