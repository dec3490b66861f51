"""Arrays as images: ``.npy`` and ``.npz`` files, damaged and hostile ones included."""

from __future__ import annotations

import re
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest

from camcli.images import DecodeSettings, decode, from_array
from tests.bands import npy, npz, six_bands
from tests.images.decoding import failure

SIX = six_bands(16, 24)


@pytest.mark.parametrize(
    "data",
    [npy(SIX), npy(np.asfortranarray(SIX)), npy(SIX.astype(">u2")), npz(anything=SIX), npz(image=SIX, label=SIX[0])],
    ids=["npy", "by columns", "big-endian", "npz", "npz with a label"],
)
def test_an_array_is_the_image(data: bytes) -> None:
    decoded = decode(data)
    assert decoded.bands is not None
    assert decoded.bands.values.dtype == np.uint16
    assert np.array_equal(decoded.bands.values, SIX)
    assert (decoded.metadata.width, decoded.metadata.height, decoded.metadata.frames) == (24, 16, 1)
    assert decoded.metadata.format in ("NPY", "NPZ")
    assert decoded.metadata.bytes == len(data)


def test_the_second_version_of_the_header_is_read() -> None:
    target = BytesIO()
    np.lib.format.write_array(target, SIX, version=(2, 0))
    assert np.array_equal(decode(target.getvalue()).bands.values, SIX)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 1), (16, 24, 3)])
def test_eight_bits_of_grey_or_rgb_are_a_picture(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    decoded = decode(npy(array))
    assert decoded.bands is None
    assert np.array_equal(np.asarray(decoded.image), np.broadcast_to(array.reshape(16, 24, -1), (16, 24, 3)))
    assert from_array(array, DecodeSettings()).bands is None


def header(text: bytes) -> bytes:
    text += b" " * (118 - len(text) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def described(shape: object, kind: str = "<f4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode())


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (npy(SIX)[:500], "truncated", "ends too early: 4,608 bytes were expected"),
        (npy(SIX)[:60], "truncated", "ends too early"),
        (described((900_000, 900_000)), "too-large", "810,000,000,000 pixels"),
        (described((1000, 1000, 100_000)), "too-large", "more than 4 for each pixel"),
        (described((2**70, 1)), "too-large", "pixels"),
        (described((-4, 4)), "unsupported", "shape"),
        (described((0, 4)), "unsupported", "shape"),
        (described((4.5, 4)), "corrupt", "header"),
        (described("'x'"), "corrupt", "header"),
        (header(b"__import__('os').abort()"), "corrupt", "header"),
        (header(b"{'descr': '<f4'}"), "corrupt", "header"),
        (header(b"(" * 110), "corrupt", "header"),
        (b"\x93NUMPY\x09\x00" + bytes(40), "corrupt", "version 9"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), "corrupt", "header of 2,147,483,648 bytes"),
        (described((4, 4), "|O") + bytes(200), "unsupported", "type object"),
        (npy(np.array([["a"]])), "unsupported", "real numbers"),
        (npy(SIX.astype(np.complex64)), "unsupported", "complex64"),
        (npy(np.zeros(5)), "unsupported", r"shape \(5,\)"),
        (npy(np.zeros((2, 3, 4, 5))), "unsupported", "bands"),
        (npz(a=SIX, b=SIX), "unsupported", r"2 arrays \(a, b\), and none is called 'image'"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_named(data: bytes, kind: str, words: str) -> None:
    error = failure(data)
    assert error.kind == kind
    assert re.search(words, error.message), error.message


def test_a_pickle_in_an_array_is_not_opened() -> None:
    target = BytesIO()
    np.save(target, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert failure(target.getvalue()).kind == "unsupported"


def test_an_archive_that_unpacks_to_more_than_it_says_is_read_as_far_as_it_says() -> None:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy(SIX) + bytes(50_000_000))
    assert np.array_equal(decode(target.getvalue()).bands.values, SIX)  # type: ignore[union-attr]


def test_other_archives_are_no_images_and_damaged_ones_are_damaged() -> None:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("notes.txt", "x")
    assert failure(target.getvalue()).kind == "not-an-image"
    data = bytearray(npz(image=SIX))
    data[200:260] = bytes(60)
    assert failure(bytes(data)).kind in ("corrupt", "truncated")


def test_the_limit_of_pixels_applies() -> None:
    assert failure(npy(SIX), max_pixels=100).kind == "too-large"


def test_an_encrypted_archive_is_not_called_damaged() -> None:
    data = bytearray(npz(image=SIX))
    for start in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag of encryption in both headers of the member
        at = data.index(start)
        data[at + (6 if start.endswith(b"\x04") else 8)] |= 1
    error = failure(bytes(data))
    assert error.kind == "unsupported"
    assert "encrypted" in error.message


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_archive_that_was_cut_is_truncated(share: float) -> None:
    data = npz(image=SIX)
    error = failure(data[: int(share * len(data))])
    assert error.kind == "truncated"
    assert "table of contents is missing" in error.message
