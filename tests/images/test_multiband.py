"""TIFF files of any number of bands and any type; those of pictures stay with Pillow."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from camcli.images import DecodeSettings, Preprocessing, decode, to_input
from camcli.images.tiff import Page, first_page
from tests.bands import rgba, six_bands, tiff
from tests.images.decoding import failure
from tests.images.files import encoded, photo

SIX = six_bands(40, 48)

FORMS: dict[str, dict[str, Any]] = {
    "interleaved": {},
    "a plane a band": {"planarconfig": "separate"},
    "tiled": {"tile": (16, 16)},
    "LZW with predictor": {"compression": "lzw", "predictor": True},
    "tiled deflate, a plane a band": {"tile": (16, 32), "compression": "zlib", "planarconfig": "separate"},
    "BigTIFF, big-endian": {"bigtiff": True, "byteorder": ">"},
    "RGB with three more": {"photometric": "rgb", "extrasamples": ["unspecified"] * 3},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_all_bands_are_read(form: str, kind: type) -> None:
    values = (SIX >> 8).astype(kind) if kind is np.uint8 else (SIX // 2).astype(kind)
    data = tiff(values, **FORMS[form])
    decoded = decode(data, DecodeSettings(channels=6))
    assert decoded.bands is not None
    assert decoded.bands.values.dtype == kind
    assert np.array_equal(decoded.bands.values, values)
    assert decoded.metadata.format == "TIFF"
    assert (decoded.image.width, decoded.image.height) == (decoded.metadata.width, decoded.metadata.height) == (48, 40)


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
def test_any_number_of_bands(bands: int) -> None:
    values = np.dstack([SIX] * 3)[:, :, :bands]
    decoded = decode(tiff(values))
    assert decoded.bands is not None
    assert np.array_equal(decoded.bands.values, values)


def test_the_fourth_band_beside_rgb_is_one_unless_it_is_alpha() -> None:
    values = (SIX[:, :, :4] >> 8).astype(np.uint8)
    infrared = decode(tiff(values, photometric="rgb", extrasamples=["unspecified"]))
    assert infrared.bands is not None
    assert np.array_equal(infrared.bands.values, values)
    alpha = tiff(values, photometric="rgb", extrasamples=["unassalpha"])
    assert decode(alpha).bands is None
    bands = decode(alpha, DecodeSettings(channels=4)).bands
    assert bands is not None
    assert np.array_equal(bands.values, values)


def test_pages_of_one_band_are_bands_where_the_model_takes_as_many() -> None:
    import tifffile

    target = BytesIO()
    tifffile.imwrite(target, SIX.transpose(2, 0, 1), photometric="minisblack")
    decoded = decode(target.getvalue(), DecodeSettings(channels=6))
    assert decoded.bands is not None
    assert np.array_equal(decoded.bands.values, SIX)
    assert decoded.metadata.notes == ("assumed: the 6 pages of a TIFF file are its bands",)
    first = decode(target.getvalue())
    assert first.bands is None
    assert first.metadata.frames == 6


def test_an_orientation_turns_all_bands() -> None:
    values = (SIX >> 8).astype(np.uint8)
    for orientation in range(1, 9):
        turned = decode(tiff(values, extratags=[(274, 3, 1, orientation, True)])).bands
        pillow = decode(encoded(Image.fromarray(values[:, :, :3]), "TIFF", tiffinfo={274: orientation}))
        assert turned is not None
        assert np.array_equal(turned.values[:, :, :3], np.asarray(pillow.image)), orientation


def test_floats_of_three_bands_are_as_they_are() -> None:
    values = (SIX[:, :, :3] / 65535).astype(np.float32)
    pre = Preprocessing(3, 40, 48, mean=(0.0,), std=(1.0,), resize="squash")
    found = to_input([pre(decode(tiff(values, photometric="rgb")).source).pixels], pre)[0]
    assert np.array_equal(found.numpy(), values.transpose(2, 0, 1))


def test_grey_of_64_bits_is_converted_as_that_of_32() -> None:
    values = SIX[:, :, :1] / 200
    double, single = decode(tiff(values)), decode(tiff(values.astype(np.float32)))
    assert np.array_equal(np.asarray(double.image), np.asarray(single.image))
    assert double.metadata.notes == single.metadata.notes != ()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1", "RGBA", "YCbCr"])
def test_pictures_stay_with_pillow(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    image = photo().convert(mode)
    decoded = decode(encoded(image, "TIFF"))
    assert decoded.bands is None
    if mode in ("L", "CMYK"):
        assert np.array_equal(np.asarray(decoded.image), np.asarray(image.convert("RGB")))


def test_lab_becomes_rgb() -> None:
    image = photo()
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert lab is not None
    found = np.asarray(decode(encoded(lab, "TIFF")).image).astype(int)
    assert np.abs(found - np.asarray(image)).mean() < 2


def test_without_tifffile_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(SIX)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    error = failure(data)
    assert error.kind == "unsupported"
    assert error.message == "a TIFF file of 6 bands that needs the package tifffile: pip install 'cambatch[tiff]'"


def test_without_imagecodecs_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    def decode_page(*_: object, **__: object) -> np.ndarray:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode_page)
    error = failure(tiff(SIX, compression="lzw"))
    assert error.kind == "unsupported"
    assert error.message == "its compression (LZW) needs the package imagecodecs: pip install 'cambatch[tiff]'"


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (tiff(SIX)[:3000], "truncated", "ends too early"),
        (tiff(SIX, compression="zlib")[:2000], "truncated", "ends too early"),
        (tiff(SIX[:, :, :2].astype(np.complex64)), "unsupported", "complex64"),
        (tiff(SIX[:, :, 0:1].astype(np.complex64)), "unsupported", "complex64"),
        (tiff(SIX[:, :, :4], photometric="separated"), "", ""),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, kind: str, words: str) -> None:
    if not kind:  # CMYK of 16 bits is a picture
        assert decode(data).bands is None
        return
    error = failure(data)
    assert error.kind == kind
    assert words in error.message


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_a_compression_that_pillow_lacks_gives_the_same_picture(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import TiffImagePlugin

    values = np.atleast_3d(np.asarray(rgba(40, 48).convert(mode)))
    options: dict[str, Any] = {"photometric": "rgb" if mode.startswith("RGB") else "minisblack"}
    if mode.endswith("A"):
        options["extrasamples"] = ["unassalpha"]
    wanted = np.asarray(decode(tiff(values, **options)).image)

    def refuse(self: Any) -> None:
        raise OSError("decoder error -2")

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", refuse)
    found = decode(tiff(values, compression="zstd", **options))
    assert np.array_equal(np.asarray(found.image), wanted)
    assert found.bands is None
    assert failure(tiff(values, compression="zlib", **options)).kind == "corrupt"


def test_damage_inside_is_damage() -> None:
    data = bytearray(tiff(SIX, compression="zlib"))
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    assert failure(bytes(data)).kind == "corrupt"


def test_the_size_is_checked_before_the_pixels() -> None:
    assert failure(tiff(SIX), max_pixels=1000).kind == "too-large"
    many = tiff(np.zeros((8, 8, 300), np.uint8))
    assert "more than 4 for each pixel" in failure(many, max_pixels=70).message


def test_the_directory_tells_the_bands() -> None:
    assert first_page(tiff(SIX)) == Page(6, 1, (0,) * 5, 1)
    assert first_page(tiff(SIX, bigtiff=True, byteorder=">")) == Page(6, 1, (0,) * 5)
    assert first_page(encoded(rgba(), "TIFF")) == Page(4, 2, (2,))
    for length in range(4, 400, 7):
        first_page(tiff(SIX)[:length])
