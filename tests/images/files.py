"""Real files of every kind, made on the fly."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "sample_images"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image in a format of Pillow."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow has no {kind}")
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def photo(width: int = 96, height: int = 64) -> Image.Image:
    """A small photograph: detail everywhere, no two sides alike."""
    with Image.open(SAMPLES / "tabby" / "chelsea.jpg") as opened:
        return opened.convert("RGB").resize((width, height))


def gradient(width: int = 256, height: int = 4) -> np.ndarray:
    """(height, width) float64 from 0 to 1, left to right."""
    return np.broadcast_to(np.linspace(0.0, 1.0, width), (height, width))


def png_of_size(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header promises a size, with hardly any data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
