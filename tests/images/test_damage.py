"""Damaged files: cut short, damaged inside, or no image, each told from the others."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from camcli.errors import ImageError
from camcli.images import DecodeSettings, decode, pillow_limits
from tests.images.files import encoded, photo
from tests.images.test_decode import failure

KINDS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "GIF": {},
    "WEBP": {},
    "BMP": {},
    "TIFF": {},
    "AVIF": {},
    "JPEG2000": {},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.5, 0.9])
def test_a_cut_file_is_truncated(kind: str, share: float) -> None:
    data = encoded(photo(), kind, **KINDS[kind])
    cut = data[: max(12 if kind == "AVIF" else 4, int(len(data) * share))]  # AVIF has no earlier signature
    error = failure(cut)
    assert error.kind == "truncated", error.message
    assert "--allow-truncated" in error.message


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"exif": b"Exif\0\0" + bytes(3000)}])
def test_jpegs_cut_anywhere_are_truncated(options: dict[str, object]) -> None:
    data = encoded(photo(), "JPEG", **options)
    for length in range(2, len(data) - 2, 7):
        assert failure(data[:length]).kind == "truncated", length


def test_a_thumbnail_does_not_count_as_the_end() -> None:
    thumbnail = encoded(photo(32, 32), "JPEG")
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert failure(data[:-100]).kind == "truncated"


@pytest.mark.parametrize("options", [{"compression": None}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}])
def test_cut_tiffs_are_truncated(options: dict[str, object]) -> None:
    data = encoded(photo(), "TIFF", **options)
    for share in (0.3, 0.6, 0.95):
        assert failure(data[: int(len(data) * share)]).kind == "truncated", share


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_allow_truncated_takes_what_there_is(kind: str, options: dict[str, object]) -> None:
    whole = np.asarray(photo())
    data = encoded(photo(), kind, **({**KINDS[kind], **options} if kind == "JPEG" else KINDS[kind]))
    decoded = decode(data[: int(len(data) * 0.7)], DecodeSettings(allow_truncated=True))
    assert "truncated" in decoded.metadata.notes[0]
    assert decoded.image.size == (96, 64)
    seen = np.asarray(decoded.image).astype(int)
    rows = slice(-20, None) if kind == "BMP" else slice(0, 20)  # BMP begins at the bottom
    assert np.abs(seen[rows] - whole[rows]).mean() < 12
    assert decode(data, DecodeSettings(allow_truncated=True)).metadata.notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_allow_truncated_needs_some_pixels(kind: str) -> None:
    data = encoded(photo(), kind, **KINDS[kind])
    assert failure(data[:40], allow_truncated=True).kind == "truncated"


def test_allow_truncated_is_not_allow_corrupt() -> None:
    data = bytearray(encoded(photo(), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    assert failure(bytes(data), allow_truncated=True).kind == "corrupt"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "AVIF", "WEBP"])
def test_a_damaged_file_never_raises_anything_else(kind: str) -> None:
    """Bytes overwritten at random: an image or an ImageError of a sensible kind, for both settings."""
    good = encoded(photo(), kind)
    choose = random.Random(5)
    kinds = set()
    for _ in range(60):
        data = bytearray(good)
        for _ in range(choose.choice([1, 3, 30])):
            data[choose.randrange(len(data))] = choose.randrange(256)
        for settings in (DecodeSettings(max_pixels=10**6), DecodeSettings(max_pixels=10**6, allow_truncated=True)):
            try:
                with pillow_limits(max_pixels=10**6):
                    decode(bytes(data), settings)
            except ImageError as error:
                kinds.add(error.kind)
    assert kinds <= {"corrupt", "truncated", "not-an-image", "too-large", "unsupported"}
    assert kinds


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"this is no picture\n", "text"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"%PDF-1.7 ...", "PDF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript"),
        (bytes(5000), "zero bytes"),
        (bytes(range(128, 256)) * 20, "no decoder"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "no decoder"),
    ],
)
def test_what_is_no_image_is_said(data: bytes, words: str) -> None:
    error = failure(data)
    assert error.kind == "not-an-image"
    assert words in error.message


def test_nothing_at_all() -> None:
    assert failure(b"").kind == "empty"


def test_a_photograph_of_a_phone_that_has_no_decoder() -> None:
    error = failure(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08free")
    assert error.kind == "unsupported"
    assert "heic" in error.message


def test_a_damaged_later_frame_leaves_the_first() -> None:
    frames = [photo().convert("P") for _ in range(3)]
    frames[1].putpixel((0, 0), 1)
    data = encoded(frames[0], "TIFF", save_all=True, append_images=[Image.new("L", (9, 9)), frames[1]])
    decoded = decode(data)
    assert decoded.metadata.frames == 3
    offset = data.rfind(b"\x00\x01\x03\x00")
    broken = data[:offset] + b"\xff" * (len(data) - offset)
    assert decode(broken).image.size == (96, 64)
