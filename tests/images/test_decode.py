"""Decoding: every kind of file becomes upright, or an error that says what is wrong with it; colours in test_rgb."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from camcli.images import IMAGE_EXTENSIONS, DecodeSettings, ImageMetadata, decode, pillow_limits
from camcli.images.decode import FORMATS
from camcli.images.tiff import count_pages
from tests.images.decoding import failure, pixels
from tests.images.files import encoded, photo, png_of_size

EXIF_FORMATS = ["JPEG", "WEBP", "PNG", "TIFF"]
UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def test_what_is_known_of_a_file() -> None:
    data = encoded(photo(), "JPEG", quality=90)
    decoded = decode(data)
    assert decoded.metadata == ImageMetadata(len(data), hashlib.sha256(data).hexdigest(), 96, 64, "JPEG", 1, ())
    assert np.array_equal(pixels(decoded), np.asarray(Image.open(io.BytesIO(data))))
    assert np.array_equal(pixels(decode(data)), pixels(decoded))


@pytest.mark.parametrize("kind", EXIF_FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    upright = photo()
    method = UNDO[orientation]
    stored = upright if method is None else upright.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(stored, kind, exif=exif, **options))
    assert (decoded.metadata.width, decoded.metadata.height) == (96, 64)
    # JPEG works in blocks, so turning what was compressed differs a little from compressing what was turned.
    difference = np.abs(pixels(decoded).astype(int) - np.asarray(upright)).mean()
    assert difference < (6 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize(("kind", "value"), [(12, struct.pack("<d", 6.0)), (5, struct.pack("<II", 12, 2))])
def test_an_orientation_stored_as_a_fraction_is_one(kind: int, value: bytes) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, kind, 1, 26) + bytes(4) + value
    assert decode(encoded(photo(), "JPEG", exif=exif)).image.size == (64, 96)


def test_damaged_exif_costs_a_note_and_not_the_image() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff\0")
    with pillow_limits():
        assert decode(data).image.size == (96, 64)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    first, *rest = [Image.new("RGB", (16, 16), colour) for colour in colours]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(first, kind, save_all=True, append_images=rest, **lossless))
    assert decoded.metadata.frames == 3
    assert pixels(decoded)[8, 8].tolist() == [200, 0, 0]
    assert decode(encoded(first, kind, **lossless)).metadata.frames == 1


def test_pages_of_a_tiff_are_counted_as_pillow_counts_them() -> None:
    pages = [Image.new("L", (3, 2), i) for i in range(5)]
    for options in ({}, {"big_tiff": True}, {"compression": "tiff_lzw"}):
        data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], **options)
        with Image.open(io.BytesIO(data)) as opened:
            assert count_pages(data) == opened.n_frames == decode(data).metadata.frames == 5
    big_endian = b"MM\0*\0\0\0\x08" + b"\0\0\0\0\0\x0e" + b"\0\0\0\0\0\x08"  # the second leads back to the first
    assert count_pages(big_endian) == 2
    assert count_pages(big_endian[:-1]) == 1
    assert count_pages(b"II*\0") == 0
    assert count_pages(b"II+\0" + struct.pack("<HHQ", 8, 0, 2**63 + 5)) == 0


def test_a_hundred_thousand_pages_are_counted_in_steps_of_their_number() -> None:
    """Pillow's own way takes a minute for them: no image may hold up a run for so long."""
    first = encoded(Image.new("L", (3, 2), 200), "TIFF")
    at = len(first) + len(first) % 2
    pages = [struct.pack("<HL", 0, at + 6 * (i + 1)) for i in range(100_000)] + [struct.pack("<HL", 0, 0)]
    (directory,) = struct.unpack_from("<L", first, 4)
    (entries,) = struct.unpack_from("<H", first, directory)
    chained = bytearray(first.ljust(at, b"\0"))
    struct.pack_into("<L", chained, directory + 2 + 12 * entries, at)
    decoded = decode(bytes(chained) + b"".join(pages))
    assert decoded.metadata.frames == 100_002
    assert pixels(decoded)[0, 0].tolist() == [200] * 3


def test_a_file_has_one_frame_or_more_whatever_it_says() -> None:
    flat = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 2, 2, 8, 3) + bytes(12) + bytes(2) + bytes([90] * 12)
    assert decode(flat).metadata.format == "PSD"
    assert decode(flat).metadata.frames == 1  # which has no layers
    for says in ("0", "-3", "9999999999"):
        header = f"Image type: Greyscale image\r\nImage size (x*y): 4*4\r\nFile size (no of images): {says}\r\n"
        data = header.encode().ljust(511, b"\0") + b"\x1a" + bytes(16)
        assert decode(data).metadata.format == "IM"
        assert 1 <= decode(data).metadata.frames <= len(data)


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TGA", "ICO", "AVIF", "JPEG2000", "PCX"])
def test_other_formats(kind: str) -> None:
    decoded = decode(encoded(photo(64, 64), kind))
    assert decoded.image.size == (64, 64)
    assert np.abs(pixels(decoded).astype(int) - np.asarray(photo(64, 64))).mean() < 5


def test_every_extension_of_what_is_decoded_is_searched_for() -> None:
    """By the decoders that Pillow has, without those that run programs or decode nothing by themselves."""
    Image.init()
    known = {extension for extension, kind in Image.EXTENSION.items() if kind in FORMATS or kind == "MPO"}
    assert known <= IMAGE_EXTENSIONS
    left_out = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF", "FPX", "MIC"}
    assert set(Image.OPEN) - left_out <= set(FORMATS), "a decoder that is new in Pillow"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("FITS", b"".join(card.ljust(80).encode() for card in
            ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2",
             "NAXIS1  =                    4", "NAXIS2  =                    4", "END")).ljust(2880) + bytes(16)),
        ("CUR", b"\0\0\2\0\1\0" + encoded(Image.new("RGBA", (16, 16), "red"), "ICO", bitmap_format="bmp")[6:]),
        ("DCX", struct.pack("<3I", 0x3ADE68B1, 12, 0) + encoded(Image.new("RGB", (16, 16), "red"), "PCX")),
    ],
    ids=["FITS", "CUR", "DCX"],
)  # fmt: skip
def test_rare_formats_that_pillow_only_reads(kind: str, data: bytes) -> None:
    decoded = decode(data)
    assert decoded.metadata.format == kind
    assert decoded.image.size in ((4, 4), (16, 16))


def test_a_decoder_that_logs_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import logging\nfrom camcli.images import pillow_limits\n"
        "with pillow_limits():\n    logging.getLogger('PIL.TiffImagePlugin').error('inside')\n"
        "logging.getLogger('PIL.TiffImagePlugin').error('outside')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().err == "outside\n"


@pytest.mark.parametrize("data", [png_of_size(65_000, 65_000), png_of_size(9_460, 9_460)])
def test_more_pixels_than_allowed_are_refused(data: bytes) -> None:
    error = failure(data)
    assert error.kind == "too-large"
    assert "--max-pixels" in error.message


def test_rows_count_as_eight_pixels_at_least_but_for_small_images() -> None:
    narrow = failure(png_of_size(1, 20_000_000))
    assert narrow.kind == "too-large"
    assert "20,000,000 rows, if only 1 wide, take the memory of 160,000,000 pixels" in narrow.message
    assert "--max-pixels" in narrow.message
    assert decode(encoded(photo(1, 900), "PNG"), DecodeSettings(max_pixels=900)).metadata.height == 900


def test_the_limit_is_exact() -> None:
    data = encoded(photo(96, 64), "PNG")
    assert failure(data, max_pixels=96 * 64 - 1).kind == "too-large"
    assert decode(data, DecodeSettings(max_pixels=96 * 64)).metadata.width == 96


_BOMBS = """
import sys
from camcli.errors import ImageError
from camcli.images import DecodeSettings, decode, pillow_limits
sys.path.insert(0, ".")
from tests.images.files import encoded, photo, png_of_size
decode(encoded(photo(), "PNG"))
import struct
icon = png_of_size(30000, 30000)
ico = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(icon), 22) + icon
webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10)
webp += bytes([0x02, 0, 0, 0]) + b"\\xfe\\x3f\\x00" * 2

def peak():
    with open("/proc/self/status") as lines:  # getrusage would begin with what the process held that started this one
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

before = peak()
for data in (png_of_size(65000, 65000), ico, webp):
    try:
        with pillow_limits(max_pixels=DecodeSettings().max_pixels):
            decode(data)
    except ImageError as error:
        print(error.kind)
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_bombs_take_no_memory() -> None:
    """Also those that only a decoder sees: an icon that holds a larger picture than it says."""
    done = subprocess.run([sys.executable, "-c", _BOMBS], capture_output=True, text=True, check=True)
    *kinds, grown = done.stdout.split()
    assert kinds == ["too-large"] * 3
    assert int(grown) < 30, f"{grown} MiB"


def test_pillows_settings_are_as_before() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    big = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    many = 250_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for limits in (pillow_limits(), pillow_limits(max_pixels=many)):
            with limits:  # more than Pillow warns of, fewer than we allow
                assert decode(big, DecodeSettings(max_pixels=many)).metadata.width == 10_000
    with pytest.raises(RuntimeError, match="out of here"), pillow_limits(max_pixels=5):
        raise RuntimeError("out of here")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_fast_decoding_is_smaller_and_says_so() -> None:
    data = encoded(photo(1600, 1200), "JPEG")
    settings = DecodeSettings(fast_decode=True, fast_size=(100, 100))
    fast = decode(data, settings)
    assert fast.image.size == (400, 300)  # twice the input or more
    assert (fast.metadata.width, fast.metadata.height) == (1600, 1200)
    assert fast.metadata.notes == ("decoded at 400×300",)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encoded(photo(1600, 1200), "JPEG", exif=exif), settings)
    assert (turned.metadata.width, turned.metadata.height, turned.image.size) == (1200, 1600, (300, 400))
    assert decode(encoded(photo(150, 150), "JPEG"), settings).metadata.notes == ()
    assert decode(encoded(photo(800, 600), "PNG"), settings).image.size == (800, 600)


def test_a_decoder_without_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> None:
        raise MemoryError

    data = encoded(photo(), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", full)
    assert failure(data).kind == "out-of-memory"


@pytest.mark.parametrize(
    "odd", [SyntaxError, ValueError, KeyError, NotImplementedError, EOFError, IndexError, TypeError, ZeroDivisionError]
)
def test_unusual_exceptions_of_a_decoder_are_named(monkeypatch: pytest.MonkeyPatch, odd: type[Exception]) -> None:
    def break_down(self: object) -> None:
        raise odd("something odd")

    data = encoded(photo(), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", break_down)
    error = failure(data)
    assert error.kind == ("unsupported" if odd is NotImplementedError else "corrupt")
    assert "something odd" in error.message
