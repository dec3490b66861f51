"""A hostile folder: real pictures in every format that Pillow writes, and what seeded chance makes of their bytes."""

from __future__ import annotations

import io
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, features

from .conftest import picture

Harm = Callable[[bytes, random.Random], bytes]


def intact(number: int) -> list[tuple[str, bytes]]:
    """One picture in many formats: (extension, content)."""
    Image.init()
    rgb = picture(number, (64 + number % 40, 48 + number % 30))
    grey, palette = rgb.convert("L"), rgb.quantize(32)
    rgba = rgb.copy()
    rgba.putalpha(grey)
    frames: dict[str, Any] = {"save_all": True, "append_images": [picture(number + 1, rgb.size)]}
    wanted: list[tuple[str, str, Image.Image, dict[str, Any]]] = [
        ("jpg", "JPEG", rgb, {}), ("jpg", "JPEG", rgb, {"progressive": True, "quality": 60}),
        ("jpeg", "JPEG", grey, {}), ("jpg", "JPEG", rgb.convert("CMYK"), {}), ("jfif", "JPEG", rgb, {"subsampling": 0}),
        ("png", "PNG", rgb, {}), ("png", "PNG", rgba, {}), ("png", "PNG", palette, {}), ("png", "PNG", grey, {}),
        ("png", "PNG", rgb.convert("1"), {}), ("png", "PNG", grey.convert("I;16"), {}), ("apng", "PNG", rgb, frames),
        ("png", "PNG", palette, {"transparency": 3}), ("gif", "GIF", palette, {}), ("gif", "GIF", rgb, frames),
        ("bmp", "BMP", rgb, {}), ("bmp", "BMP", palette, {}), ("tif", "TIFF", rgb, {}),
        ("tiff", "TIFF", grey.convert("F"), {}), ("tiff", "TIFF", rgb, {"compression": "tiff_lzw"}),
        ("tiff", "TIFF", rgb, {"compression": "tiff_adobe_deflate"}),
        ("tiff", "TIFF", rgb, {"compression": "jpeg"}), ("tiff", "TIFF", rgb.convert("1"), {"compression": "group4"}),
        ("tiff", "TIFF", rgb, frames), ("ppm", "PPM", rgb, {}), ("pgm", "PPM", grey, {}),
        ("tga", "TGA", rgb, {"compression": "tga_rle"}),
        ("pcx", "PCX", rgb, {}), ("sgi", "SGI", rgb, {}), ("ico", "ICO", rgba, {}), ("dds", "DDS", rgba, {}),
        ("jpg", "JPEG", rgb, {"restart_marker_blocks": 2}), ("mpo", "MPO", rgb, frames), ("icns", "ICNS", rgba, {}),
        ("jpg", "JPEG", rgb, {"icc_profile": b"no profile" * 20}), ("jpg", "JPEG", rgb, {"comment": b"\xff\xd9" * 40}),
        ("jpg", "JPEG", rgb, {"exif": b"Exif\0\0MM\0*\xff\xff\xff\xf0" + bytes(60000)}),
        ("jpg", "JPEG", rgb, {"exif": _turned(6)}), ("webp", "WEBP", rgb, {"exif": _turned(8)}),
        ("png", "PNG", rgb, {"exif": _turned(5), "icc_profile": b"x"}), ("png", "PNG", rgba.convert("LA"), {}),
        ("png", "PNG", rgb, {"transparency": (1, 2, 3)}), ("tif", "TIFF", rgb.convert("CMYK"), {}),
        ("tif", "TIFF", rgba, {"compression": "packbits"}), ("tif", "TIFF", grey.convert("I"), {}),
        ("tif", "TIFF", rgb.convert("LAB"), {}), ("bmp", "BMP", rgb.convert("1"), {}), ("bmp", "BMP", rgba, {}),
        ("pbm", "PPM", rgb.convert("1"), {}), ("pfm", "PPM", grey.convert("F"), {}), ("tga", "TGA", rgba, {}),
        ("msp", "MSP", rgb.convert("1"), {}), ("xbm", "XBM", rgb.convert("1"), {}), 
        ("gif", "GIF", palette, {"transparency": 1, "interlace": 1}), ("qoi", "QOI", rgba, {}),
    ]  # fmt: skip
    for feature, entries in (
        (
            "webp",
            [("webp", "WEBP", rgb, {}), ("webp", "WEBP", rgba, {"lossless": True}), ("webp", "WEBP", rgb, frames)],
        ),
        ("jpg_2000", [("jp2", "JPEG2000", rgb, {}), ("j2k", "JPEG2000", grey, {})]),
        ("avif", [("avif", "AVIF", rgb, {})]),
    ):
        if feature in features.get_supported():
            wanted += entries
    files = []
    for extension, form, image, how in wanted:
        if form not in Image.SAVE and form not in Image.SAVE_ALL:  # this build of Pillow does not write it
            continue
        buffer = io.BytesIO()
        image.save(buffer, form, **how)
        files.append((extension, buffer.getvalue()))
    return files


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _cut_at_a_tenth(data: bytes, chance: random.Random) -> bytes:
    return data[: len(data) * chance.randrange(10) // 10]


def _flip_a_bit(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 30])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _flip_head(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 2, 4])):
        changed[chance.randrange(min(len(changed), 64))] = chance.choice(
            [0, 1, 127, 128, 254, 255, chance.randrange(256)]
        )
    return bytes(changed)


def _remove(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 200) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + chance.randbytes(chance.randrange(1, 200)) + data[start:]


def _blank(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.choice([16, 512, 4096]))
    return data[:start] + bytes(end - start) + data[end:]


def _double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[chance.randrange(len(data)) :]


def _noise(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice([0, 4, 12, 40])] + chance.randbytes(chance.randrange(1, 3000))


def _huge(data: bytes, chance: random.Random) -> bytes:
    """Large numbers over two bytes somewhere near the start, where formats keep their sizes."""
    start = chance.randrange(min(len(data), 40))
    return data[:start] + chance.choice([b"\xff\xff", b"\x7f\xff", b"\xff\x7f", b"\0\0"]) + data[start + 2 :]


HARMS: tuple[Harm, ...] = (
    _cut,
    _cut_at_a_tenth,
    _flip,
    _flip_a_bit,
    _flip_head,
    _flip_head,
    _remove,
    _insert,
    _blank,
    _double,
    _noise,
    _huge,
)


NO_FILES = {"loop.jpg": "unreadable", "nowhere.png": "missing", "zero.jpg": "empty"}
"""What :func:`write_oddities` leaves to be named, and the kind of its error."""
PASSED_OVER = 3


def write_oddities(folder: Path) -> None:
    """What looks like an image and is none: links in circles and to nowhere, pipes, sockets, folders; odd names."""
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.png").symlink_to("nothing.png")
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "circle.png").symlink_to(".")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no image, by its name")
    with socket.socket(socket.AF_UNIX) as listening:
        there = os.getcwd()
        os.chdir(folder)  # the path of a socket must be short
        listening.bind("socket.png")
        os.chdir(there)
    content = intact(7)[0][1]
    for name in (b"caf\xe9 \xff.jpg", "new\nline \u202e🐈.jpg".encode(), b"x" * 251 + b".jpg"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(content)


def write_corpus(folder: Path, count: int, seed: int) -> set[str]:
    """Write so many files.

    Returns:
        The names of those that were left as they are, a quarter of all.
    """
    folder.mkdir(parents=True)
    chance, good, pool = random.Random(seed), set(), list[tuple[str, bytes]]()
    for number in range(count):
        if number % 20 == 0:
            pool = intact(chance.randrange(1000))
        extension, data = chance.choice(pool)
        if chance.random() < 0.15:  # the content decides, not the name
            extension = chance.choice(pool)[0]
        name = f"{number:05}.{extension}"
        if number % 4 == 0:
            good.add(name)
        else:
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                data = chance.choice(HARMS)(data or b"x", chance)
        (folder / name).write_bytes(data)
    return good
