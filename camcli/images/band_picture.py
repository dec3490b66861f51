"""The picture that is drawn of bands which are not red, green and blue."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from camcli.images.bands import Bands, check_numbers

_LIMITS = (2, 98)
"""Percentiles of a band that are drawn black and white."""
_SAMPLES = 1 << 20
"""Values of a large band from which they are taken."""


def draw(bands: Bands, show: Sequence[int] | None = None) -> Image.Image:
    """The RGB picture of three bands, or of one in grey.

    Args:
        bands: uint8 and scaled values are drawn as they are; others between their 2nd and 98th percentile, band by
            band.
        show: three numbers of bands or one; None: the first three, or the first of one or two.

    Raises:
        ImageError: ``bands``: the image has no such band.
    """
    if show is None:
        show = (1, 2, 3) if bands.count >= 3 else (1,)
    check_numbers(bands, show, "--show-bands")
    drawn = [Image.fromarray(_as_bytes(bands.values[:, :, number - 1], bands.is_scaled)) for number in show]
    return drawn[0].convert("RGB") if len(drawn) == 1 else Image.merge("RGB", drawn)


def _as_bytes(values: np.ndarray, is_scaled: bool) -> np.ndarray:
    kind = values.dtype
    if kind == np.uint8:
        return np.ascontiguousarray(values)
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    low, high = (0.0, 1.0) if is_scaled else _limits(values)
    if kind.kind in "iu" and kind.itemsize == 2:  # by a table: a large image in floats takes much memory
        table = _stretch(np.arange(1 << 16, dtype=np.uint16).view(kind), low, high)
        return table[np.ascontiguousarray(values).view(np.uint16)]
    return _stretch(values, low, high)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """From ``low``, black, to ``high``, white."""
    floats: np.ndarray = values.astype(np.float64) if values.dtype.itemsize > 4 else values.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = (floats - low) / ((high - low) or 1.0)
    shares = np.nan_to_num(shares, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    drawn: np.ndarray = np.rint(np.clip(shares, 0, 1, out=shares) * 255).astype(np.uint8)
    return drawn


def _limits(values: np.ndarray) -> tuple[float, float]:
    """What is drawn black and white of a band; from a regular sample of a large one."""
    step = max(1, int((values.size / _SAMPLES) ** 0.5))
    sampled = values[::step, ::step].astype(np.float64).ravel()
    sampled = sampled[np.isfinite(sampled)]
    if not sampled.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(sampled, _LIMITS))
    return (low, high) if high > low else (float(sampled.min()), float(sampled.max()))
