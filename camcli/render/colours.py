"""Colour maps, and the 8-bit levels that they colour."""

from functools import lru_cache

import cv2
import numpy as np

ZERO = 128
"""The level of the value 0 in a map that keeps its sign."""

_DIVERGING = {
    "coolwarm":
        "3b4cc0 445acc 4d68d7 5775e1 6282ea 6c8ef1 779af7 82a5fb 8db0fe 98b9ff a3c2ff aec9fd b8d0f9 c2d5f4 ccd9ee "
        "d5dbe6 dddddd e5d8d1 ecd3c5 f1ccb9 f5c4ad f7bba0 f7b194 f7a687 f49a7b f18d6f ec7f63 e57058 de604d d55042 "
        "cb3e38 c0282f b40426",
    "rdbu_r": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
    "puor_r": "2d004b 542788 8073ac b2abd2 d8daeb f7f7f7 fee0b6 fdb863 e08214 b35806 7f3b08",
    "bwr": "0000ff ffffff ff0000",
}  # fmt: skip
"""Colours at equal steps, linear between them. coolwarm: K. Moreland, Diverging Color Maps for Scientific
Visualization, 2009; rdbu_r and puor_r: ColorBrewer, C. Brewer."""


def colour(placed: np.ndarray, colormap: str) -> np.ndarray:
    """A map in [0, 1] through a colour map: (height, width, 3) uint8 BGR."""
    return colour_levels(to_gray(placed), colormap)


def colour_levels(levels: np.ndarray, colormap: str) -> np.ndarray:
    """8-bit levels through a colour map: (height, width, 3) uint8 BGR."""
    looked_up = cv2.LUT(levels, _colour_table(colormap)).view(np.uint8).reshape(*levels.shape, 4)
    coloured: np.ndarray = cv2.cvtColor(looked_up, cv2.COLOR_BGRA2BGR)
    return coloured


@lru_cache
def _colour_table(colormap: str) -> np.ndarray:
    """The 256 colours as (1, 256) int32, four bytes each.

    OpenCV's ``applyColorMap`` computes its table in every call, which takes longer than colouring a picture, and
    looks up each channel separately.
    """
    table = colours(colormap).reshape(1, 256, 3)
    packed: np.ndarray = cv2.cvtColor(table, cv2.COLOR_BGR2BGRA).view(np.int32).reshape(1, 256)
    return packed


def colours(colormap: str) -> np.ndarray:
    """The colours of the levels 0 to 255 of a colour map: (256, 3) uint8 BGR."""
    if colormap in _DIVERGING:
        points = np.array([list(bytes.fromhex(point))[::-1] for point in _DIVERGING[colormap].split()], np.float64)
        places = np.linspace(0, len(points) - 1, 256)
        between = [np.interp(places, np.arange(len(points)), points[:, channel]) for channel in range(3)]
        table: np.ndarray = np.rint(np.stack(between, axis=1)).astype(np.uint8)
        return table
    code = getattr(cv2, f"COLORMAP_{colormap.upper()}")
    mapped: np.ndarray = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(1, 256), code).reshape(256, 3)
    return mapped


def apply_gamma(placed: np.ndarray, gamma: float) -> np.ndarray:
    """A map in [-1, 1] to the power ``gamma``, float32, its sign kept: below 1 weak heat becomes more visible."""
    if gamma == 1:
        return placed
    powers: np.ndarray = np.copysign(np.power(np.abs(placed), np.float32(gamma)), placed)
    return powers


def blend(coloured: np.ndarray, pixels: np.ndarray, alpha: float) -> np.ndarray:
    """Colours over pixels, ``alpha`` of them; both uint8."""
    return cv2.addWeighted(coloured, alpha, pixels, 1 - alpha, 0)


def signed_shares(alpha: float) -> np.ndarray:
    """The share of heat in an overlay by the level of a map that keeps its sign, (256,) uint16 in 256ths: none at zero,
    so that the middle of the colours hides nothing, ``alpha`` at both ends, linear between them.
    """
    distance = np.abs(np.arange(256) - 127.5) - 0.5
    shares: np.ndarray = np.rint(256 * alpha * distance / distance.max()).astype(np.uint16)
    return shares


def mix(coloured: np.ndarray, pixels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Colours over pixels, both uint8, by a share for each, uint16 in 256ths; arrays that fit together."""
    total = coloured * shares
    total += pixels * (256 - shares)
    total += 128
    total >>= 8
    mixed: np.ndarray = total.astype(np.uint8)
    return mixed


def to_gray(placed: np.ndarray) -> np.ndarray:
    """[0, 1] to 8 bits, rounded."""
    gray: np.ndarray = cv2.convertScaleAbs(placed, alpha=255)
    return gray


def to_levels(placed: np.ndarray, gamma: float, signed: bool) -> np.ndarray:
    """A map in [0, 1], or in [-1, 1] with its sign, as the 8 bits that are coloured; 0 is then :data:`ZERO`."""
    powers = apply_gamma(placed, gamma)
    if not signed:
        return to_gray(powers)
    levels: np.ndarray = cv2.convertScaleAbs(powers, alpha=127.5, beta=127.5)
    return levels
