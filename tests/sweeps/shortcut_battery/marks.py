"""The marks that are planted: stickers, time stamps, watermarks and rulers, as pictures with an opacity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in shares of what the model sees."""

FINE = 4
"""Marks are drawn this many times larger than they become."""


@dataclass(frozen=True)
class Mark:
    """What is planted.

    Attributes:
        kind: of the sticker (a key of ``STICKERS``), or ``stamp``, ``watermark``, ``ruler``.
        width, height: in shares of what the model sees.
        colours: two.
        text: of a watermark.
        opacity: 1 covers what is below it.
    """

    kind: str
    width: float
    height: float
    colours: tuple[Colour, Colour] = ((220, 30, 40), (250, 240, 60))
    text: str = ""
    opacity: float = 1.0

    def draw(self, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
        """The mark in pixels, (height, width, 4) float32: colours 0 to 255 and opacity 0 to 1."""
        canvas = np.zeros((height * FINE, width * FINE, 4), np.float32)
        drawing = STICKERS.get(self.kind, _SPECIAL.get(self.kind))
        if drawing is None:
            raise ValueError(f"no mark is called {self.kind!r}")
        drawing(canvas, self, rng)
        small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
        small[..., 3] *= self.opacity
        return small


def paste(image: np.ndarray, mark: np.ndarray, x: int, y: int) -> None:
    """Put a drawn mark into an image (H, W, 3) float32 in place; what lies outside is cut off."""
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mark.shape[1], image.shape[1]), min(y + mark.shape[0], image.shape[0])
    part, below = mark[y0 - y : y1 - y, x0 - x : x1 - x], image[y0:y1, x0:x1]
    below += part[..., 3:] * (part[..., :3] - below)


def _ink(canvas: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Colour where a mask of 0 to 255 is set; colours are multiplied by the opacity until the mark is scaled."""
    share = (mask.astype(np.float32) / 255)[..., None]
    canvas *= 1 - share
    canvas += share * np.array([*colour, 1.0], np.float32)


def _blank(canvas: np.ndarray) -> np.ndarray:
    return np.zeros(canvas.shape[:2], np.uint8)


def _polygon(canvas: np.ndarray, points: np.ndarray, colour: Colour) -> None:
    height, width = canvas.shape[:2]
    mask = cv2.fillPoly(_blank(canvas), [np.round(points * [width - 1, height - 1]).astype(np.int32)], 255)
    _ink(canvas, mask, colour)


def _disc_at(canvas: np.ndarray, x: float, y: float, radius: float, colour: Colour) -> None:
    height, width = canvas.shape[:2]
    mask = cv2.circle(_blank(canvas), (round(x * width), round(y * height)), round(radius * width), 255, -1)
    _ink(canvas, mask, colour)


def _box_at(canvas: np.ndarray, box: Box, colour: Colour) -> None:
    x0, y0, x1, y1 = box
    _polygon(canvas, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), colour)


def _spikes(count: int, inner: float) -> np.ndarray:
    angles = np.arange(2 * count) * np.pi / count - np.pi / 2
    radii = np.where(np.arange(2 * count) % 2, inner, 1.0) / 2
    return np.stack([0.5 + radii * np.cos(angles), 0.5 + radii * np.sin(angles)], 1)


def _disc(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _disc_at(canvas, 0.5, 0.5, 0.5, mark.colours[0])
    _disc_at(canvas, 0.5, 0.5, 0.28, mark.colours[1])


def _star(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _disc_at(canvas, 0.5, 0.5, 0.5, mark.colours[0])
    _polygon(canvas, _spikes(5, 0.42), mark.colours[1])


def _cross(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _box_at(canvas, (0, 0, 1, 1), mark.colours[0])
    _box_at(canvas, (0.4, 0.12, 0.6, 0.88), mark.colours[1])
    _box_at(canvas, (0.12, 0.4, 0.88, 0.6), mark.colours[1])


def _smiley(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _disc_at(canvas, 0.5, 0.5, 0.5, mark.colours[0])
    _disc_at(canvas, 0.33, 0.38, 0.08, mark.colours[1])
    _disc_at(canvas, 0.67, 0.38, 0.08, mark.colours[1])
    height, width = canvas.shape[:2]
    middle, axes = (width // 2, round(0.52 * height)), (round(0.28 * width), round(0.25 * height))
    _ink(canvas, cv2.ellipse(_blank(canvas), middle, axes, 0, 15, 165, 255, max(1, width // 14)), mark.colours[1])


def _checker(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _box_at(canvas, (0, 0, 1, 1), mark.colours[0])
    for i in range(4):
        for j in range(i % 2, 4, 2):
            _box_at(canvas, (j / 4, i / 4, (j + 1) / 4, (i + 1) / 4), mark.colours[1])


def _triangle(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _polygon(canvas, np.array([[0.5, 0.0], [1.0, 1.0], [0.0, 1.0]]), mark.colours[0])
    _box_at(canvas, (0.45, 0.4, 0.55, 0.72), mark.colours[1])
    _disc_at(canvas, 0.5, 0.85, 0.06, mark.colours[1])


def _code(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _box_at(canvas, (0, 0, 1, 1), mark.colours[1])
    dots = np.random.default_rng(5).random((6, 6)) < 0.5  # always the same code
    for i, j in np.argwhere(dots):
        _box_at(canvas, ((j + 0.5) / 7, (i + 0.5) / 7, (j + 1.5) / 7, (i + 1.5) / 7), mark.colours[0])


def _ring(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _disc_at(canvas, 0.5, 0.5, 0.5, mark.colours[0])
    _disc_at(canvas, 0.5, 0.5, 0.36, mark.colours[1])
    _disc_at(canvas, 0.5, 0.5, 0.2, mark.colours[0])


def _burst(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _polygon(canvas, _spikes(12, 0.75), mark.colours[0])
    _write(canvas, "A+", mark.colours[1], margin=0.22)


def _write(canvas: np.ndarray, text: str, colour: Colour, margin: float = 0.0) -> None:
    """Text stretched to fill the canvas but for a margin."""
    font, scale, thickness = cv2.FONT_HERSHEY_DUPLEX, 4.0, 9
    (width, height), below = cv2.getTextSize(text, font, scale, thickness)
    mask = np.zeros((height + below, width), np.uint8)
    cv2.putText(mask, text, (0, height), font, scale, 255, thickness, cv2.LINE_AA)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = [round(length * (1 - 2 * margin)) for length in canvas.shape[:2]]
    top, left = (round(length * margin) for length in canvas.shape[:2])
    full = _blank(canvas)
    full[top : top + size[0], left : left + size[1]] = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA)
    _ink(canvas, full, colour)


def _stamp(canvas: np.ndarray, mark: Mark, rng: np.random.Generator) -> None:
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1998, 2026)
    if mark.text == "time":
        text = f"{day:02d}.{month:02d}.{year} {rng.integers(24):02d}:{rng.integers(60):02d}"
    else:
        text = f"{month:02d} {day:02d} '{year % 100:02d}"
    _write(canvas, text, mark.colours[0])


def _watermark(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _write(canvas, mark.text, mark.colours[0])


def _ruler(canvas: np.ndarray, mark: Mark, _: np.random.Generator) -> None:
    _box_at(canvas, (0, 0, 1, 1), mark.colours[0])
    is_wide = mark.width > mark.height
    for i in range(1, 40):
        length, at = (0.7 if i % 5 == 0 else 0.4), i / 40
        _box_at(canvas, (at, 0, at + 0.006, length) if is_wide else (0, at, length, at + 0.006), mark.colours[1])


Drawing = Callable[[np.ndarray, Mark, np.random.Generator], None]
STICKERS: dict[str, Drawing] = {
    "disc": _disc,
    "star": _star,
    "cross": _cross,
    "smiley": _smiley,
    "checker": _checker,
    "triangle": _triangle,
    "code": _code,
    "ring": _ring,
    "burst": _burst,
}
_SPECIAL: dict[str, Drawing] = {"stamp": _stamp, "watermark": _watermark, "ruler": _ruler}
