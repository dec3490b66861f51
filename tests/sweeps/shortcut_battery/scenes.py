"""Images made from photographs: views of them, cut-outs on backgrounds, and marks put into them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.sweeps.shortcut_battery.marks import Box, Mark, paste

SIDE = 288
"""Shorter side of the images that are written."""
CROP = 0.875
"""Share of the shorter side that the models see, in the middle."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Placed:
    """A mark at its place.

    Attributes:
        x, y: of its middle, in shares of what the model sees.
        seed: of what varies in it, such as the digits of a stamp.
    """

    mark: Mark
    x: float
    y: float
    scale: float = 1.0
    seed: int = 0

    @property
    def box(self) -> Box:
        width, height = self.mark.width * self.scale / 2, self.mark.height * self.scale / 2
        return self.x - width, self.y - height, self.x + width, self.y + height


@dataclass(frozen=True)
class Scene:
    """One image: a view of a photograph, or a cut-out of it on a background, and marks.

    Attributes:
        photo: the file.
        view: which crop of it; equal numbers are equal crops.
        background: ``photo`` (the photograph itself), ``plain``, ``sky`` or ``green``.
        marks: that are put into it.
    """

    photo: str
    view: int
    background: str = "photo"
    marks: tuple[Placed, ...] = ()

    def render(self) -> Image.Image:
        pixels = _unmarked(self.photo, self.view, self.background)
        return Image.fromarray(put_marks(pixels, self.marks) if self.marks else pixels)


def list_photos(folder: Path) -> list[str]:
    """The photographs in a folder, sorted by name.

    Raises:
        SystemExit: there are too few of them.
    """
    photos = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(photos) < 100:
        raise SystemExit(f"{folder}: {len(photos)} photographs where the battery needs 100 or more, best 200.")
    return photos


def view_square(width: int, height: int) -> tuple[float, float, float]:
    """Left, top and side of what the models see of an image."""
    side = CROP * min(width, height)
    return (width - side) / 2, (height - side) / 2, side


def put_marks(pixels: np.ndarray, marks: tuple[Placed, ...]) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8 with marks, placed by what the models see of it."""
    left, top, side = view_square(pixels.shape[1], pixels.shape[0])
    image = pixels.astype(np.float32)
    for placed in marks:
        x0, y0, x1, y1 = placed.box
        width, height = max(2, round((x1 - x0) * side)), max(2, round((y1 - y0) * side))
        drawn = placed.mark.draw(width, height, np.random.default_rng(placed.seed))
        paste(image, drawn, round(left + x0 * side), round(top + y0 * side))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _photo(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


@lru_cache(maxsize=600)
def _unmarked(path: str, view: int, background: str) -> np.ndarray:
    rng = np.random.default_rng([view, *Path(path).name.encode()])
    if background == "photo":
        return _crop(_photo(path), rng)
    size = (SIDE, round(SIDE * rng.uniform(1, 1.33)))
    below = {"plain": _plain, "sky": _sky, "green": _green}[background](size, rng)
    return _put_object(below, _crop(_photo(path), rng), rng, is_centred=background == "plain")


def _crop(photo: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A random crop of 60 to 100 % of the shorter side, flipped or not, its shorter side scaled to ``SIDE``."""
    short = min(photo.size) * rng.uniform(0.6, 1.0)
    long = min(short * rng.uniform(1.0, 1.33), max(photo.size))
    width, height = (long, short) if photo.width >= photo.height else (short, long)
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    size = (max(SIDE, round(SIDE * width / height)), max(SIDE, round(SIDE * height / width)))
    image = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def _put_object(below: np.ndarray, photo: np.ndarray, rng: np.random.Generator, *, is_centred: bool) -> np.ndarray:
    """The middle of a photograph as an ellipse with soft edges."""
    height, width = below.shape[:2]
    size = round(min(height, width) * (rng.uniform(0.6, 0.7) if is_centred else rng.uniform(0.35, 0.6)))
    middle = cv2.resize(photo[:SIDE, :SIDE], (size, size), interpolation=cv2.INTER_AREA)
    mask = np.zeros((size, size), np.float32)
    axes = (round(size * rng.uniform(0.4, 0.48)), round(size * rng.uniform(0.33, 0.48)))
    cv2.ellipse(mask, (size // 2, size // 2), axes, float(rng.uniform(-30, 30)), 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), size / 50)
    free_x, free_y = width - size, height - size
    shift = (0.5, 0.5) if is_centred else tuple(rng.uniform(0.15, 0.85, 2))
    x, y = round(free_x * shift[0]), round(free_y * shift[1])
    result = below.copy()
    paste(result, np.dstack([middle.astype(np.float32), mask]), x, y)
    return np.clip(result, 0, 255).astype(np.uint8)


def _plain(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = rng.uniform(205, 245) + rng.uniform(-6, 6, 3)
    return np.broadcast_to(colour.astype(np.float32), (*size, 3)).copy()


def _noise(size: tuple[int, int], rng: np.random.Generator, coarse: float, fine: float) -> np.ndarray:
    """Noise of several scales between two, in shares of the width, about −1 to 1, (H, W)."""
    total = np.zeros(size, np.float32)
    scale, weight = coarse, 1.0
    while scale >= fine:
        cells = (max(2, round(1 / scale)), max(2, round(size[0] / size[1] / scale)))
        grid = rng.normal(0, 1, cells[::-1]).astype(np.float32)
        total += weight * cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)
        scale, weight = scale / 2, weight * 0.6
    return np.asarray(total / np.abs(total).max())


def _sky(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    high = np.array([rng.uniform(40, 130), rng.uniform(110, 170), rng.uniform(190, 240)], np.float32)
    low = high + (np.array([245, 245, 250]) - high) * rng.uniform(0.2, 0.8)
    down = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None] ** rng.uniform(0.6, 1.6)
    sky = high + (low - high) * down + np.zeros((*size, 3), np.float32)
    clouds = np.clip(_noise(size, rng, 0.5, 0.02) - rng.uniform(-0.1, 0.5), 0, 1)[..., None] * rng.uniform(0.5, 1.6)
    sky += np.clip(clouds, 0, 1) * (np.array([250, 250, 252], np.float32) - sky)
    return np.asarray(sky + rng.normal(0, 2, sky.shape), np.float32)


def _green(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = np.array([rng.uniform(60, 120), rng.uniform(100, 150), rng.uniform(30, 70)], np.float32)
    light = 1 + 0.5 * _noise(size, rng, 0.25, 0.008) + 0.25 * _noise(size, rng, 0.04, 0.006)
    tint = 12 * _noise(size, rng, 0.4, 0.05)
    green = colour * light[..., None] + tint[..., None] * np.array([1.0, -0.3, 0.2], np.float32)
    return np.asarray(green + rng.normal(0, 4, green.shape), np.float32)
