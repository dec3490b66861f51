"""TIFF files of any number of bands and any type; those of pictures stay with Pillow."""

from __future__ import annotations

import struct
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
INSTALL = "pip install tifffile imagecodecs (the extra tiff; in a clone: pip install '.[tiff]')"

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
    assert error.message == f"a TIFF file of 6 bands that needs the package tifffile: {INSTALL}"


def test_without_imagecodecs_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    def decode_page(*_: object, **__: object) -> np.ndarray:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode_page)
    error = failure(tiff(SIX, compression="lzw"))
    assert error.kind == "unsupported"
    assert error.message == f"its compression (LZW) needs the package imagecodecs: {INSTALL}"


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
    assert first_page(tiff(SIX)) == Page(6, 1, (0,) * 5, 1, bits=16)
    assert first_page(tiff(SIX, bigtiff=True, byteorder=">")) == Page(6, 1, (0,) * 5, bits=16)
    assert first_page(encoded(rgba(), "TIFF")) == Page(4, 2, (2,))
    for length in range(4, 400, 7):
        first_page(tiff(SIX)[:length])


def planes(values: np.ndarray, **options: Any) -> bytes:
    return tiff(values, **{"planarconfig": "separate", **options})


HIGH = (SIX >> 8).astype(np.uint8)
RGBA_16 = np.dstack([SIX[:, :, :3], np.full(SIX.shape[:2], 65535, np.uint16)])
MISREAD: dict[str, tuple[bytes, np.ndarray]] = {
    "RGB of 16 bits, a plane a band": (planes(SIX[:, :, :3], photometric="rgb"), HIGH[:, :, :3]),
    "RGB of 16 bits, tiled planes": (planes(SIX[:, :, :3], photometric="rgb", tile=(16, 16)), HIGH[:, :, :3]),
    "RGBA of 16 bits, planes": (
        planes(RGBA_16, photometric="rgb", extrasamples=["unassalpha"]), HIGH[:, :, :3],
    ),
    "premultiplied, planes": (
        planes((RGBA_16 >> 8).astype(np.uint8), photometric="rgb", extrasamples=["assocalpha"]), HIGH[:, :, :3],
    ),
    "white is zero, 16 bits": (
        tiff(SIX[:, :, :1], photometric="miniswhite"), np.rint((65535 - SIX[:, :, :1].astype(float)) / 257),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISREAD)
def test_pictures_whose_values_pillow_mistakes_are_read_right(name: str) -> None:
    data, wanted = MISREAD[name]
    decoded = decode(data)
    assert np.array_equal(np.asarray(decoded.image), np.broadcast_to(wanted, (*wanted.shape[:2], 3)))
    assert decoded.metadata.notes == ()


def test_cmyk_in_planes_is_the_picture_of_cmyk() -> None:
    options = {"photometric": "separated"}
    assert np.array_equal(
        np.asarray(decode(planes(SIX[:, :, :4], **options)).image),
        np.asarray(decode(tiff(SIX[:, :, :4], **options)).image),
    )


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("is_inverted", [False, True])
def test_the_largest_value_of_few_bits_is_white(bits: int, is_inverted: bool) -> None:
    top = 2**bits - 1
    values = np.array([[0, top // 3, top], [top, 1, 0]])
    data = packed(values, bits, photometric=0 if is_inverted else 1)
    shares = (top - values if is_inverted else values) / top
    assert np.array_equal(np.asarray(decode(data).image)[:, :, 0], np.rint(shares * 255))
    bands = decode(data, DecodeSettings(channels=1)).bands
    assert bands is not None
    assert np.abs(bands.values[:, :, 0] / 65535 - shares).max() < 1 / 65535


def packed(values: np.ndarray, bits: int, *, photometric: int) -> bytes:
    """A TIFF file of values that do not fill whole bytes."""
    texts = ("".join(f"{value:0{bits}b}" for value in row) for row in values)
    rows = [text + "0" * (-len(text) % 8) for text in texts]
    pixels = b"".join(int(row[i : i + 8], 2).to_bytes(1, "big") for row in rows for i in range(0, len(row), 8))
    height, width = values.shape
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: photometric,
        273: 122,
        277: 1,
        278: height,
        279: len(pixels),
    }
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items())
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + pixels


def test_signed_values_of_one_band_keep_their_sign() -> None:
    for kind in (np.int8, np.int16):
        values = (SIX[:, :, :1].astype(np.int64) - 32768 >> (8 if kind is np.int8 else 0)).astype(kind)
        bands = decode(tiff(values), DecodeSettings(channels=1))
        assert bands.bands is not None
        assert np.array_equal(bands.bands.values, values)
        assert bands.metadata.notes == ()


def test_unsigned_values_of_32_bits_do_not_wrap_round() -> None:
    values = np.array([[0, 2**31], [2**32 - 1, 2**30]], np.uint32)[:, :, None]
    decoded = decode(tiff(values))
    assert np.asarray(decoded.image)[:, :, 0].tolist() == [[0, 128], [255, 64]]
    assert decoded.metadata.notes[0].startswith("assumed: grey values outside 0…255 are scaled")


def test_pages_of_several_sizes_are_no_bands() -> None:
    import tifffile

    target = BytesIO()
    with tifffile.TiffWriter(target) as writer:
        for i in range(4):
            writer.write(SIX[: 40 - i, :, i], photometric="minisblack", metadata=None)
    error = failure(target.getvalue(), channels=4)
    assert error.kind == "bands"
    assert "the first is 48×40 uint16, page 2 is 48×39 uint16" in error.message


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">", "tile": (16, 16)}])
def test_a_file_that_was_cut_is_truncated(options: dict[str, Any]) -> None:
    data = tiff(SIX, **options)
    assert {failure(data[:length]).kind for length in (len(data) // 2, len(data) - 1)} == {"truncated"}
