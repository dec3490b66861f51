"""Images whose bands are not red, green and blue: which of them the model gets, as which numbers, and which are drawn.

Bands are counted from 1, as in GDAL and rasterio. Integers are divided by the largest value of their type, as
torchvision's ``to_dtype(scale=True)`` does it, so that ``--mean`` and ``--std`` are of values in 0…1; floating-point
values are taken as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from camcli.errors import ConfigError, ImageError

BandChoice = tuple[int, ...] | Literal["repeat"]
"""``--bands``: numbers of bands, from 1; or the image's bands over and over."""

ASSUMED = "assumed: "
"""Beginning of a note that says what was assumed of an image; the console prints each such note once a run."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in grey (ITU-R 601), as Pillow has them."""
_LIMITS = (2, 98)
"""Percentiles of a band that are drawn black and white."""
_SAMPLES = 1 << 20
_FEW = 32
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values.swapaxes(0, 1)[:, ::-1],
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: values.swapaxes(0, 1)[::-1],
}
"""What makes an image upright, by its EXIF orientation."""


@dataclass(frozen=True)
class Bands:
    """The values of an upright image.

    Attributes:
        values: (height, width, bands), of the type that the file has.
        is_scaled: floating-point values that are shares of white already.
        is_picture: red, green and blue of a picture, whatever the file has.
    """

    values: np.ndarray
    is_scaled: bool = False
    is_picture: bool = False

    @property
    def count(self) -> int:
        return int(self.values.shape[2])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as Pillow has it."""
        return int(self.values.shape[1]), int(self.values.shape[0])

    def turned(self, orientation: int) -> "Bands":
        """Upright, by the EXIF orientation 1–8."""
        turn = _UPRIGHT.get(orientation)
        return self if turn is None else Bands(np.ascontiguousarray(turn(self.values)), self.is_scaled)


def show_choice(choice: BandChoice) -> str:
    """As ``--bands`` has it."""
    return choice if isinstance(choice, str) else ",".join(map(str, choice))


def check_choice(choice: BandChoice | None, channels: int, *, has_own_preprocessing: bool = False) -> None:
    """Check that a model of so many channels can get these bands; one band alone counts as grey.

    Raises:
        ConfigError: it cannot.
    """
    if not isinstance(choice, tuple) or len(choice) in (1, channels) or has_own_preprocessing:
        return
    raise ConfigError(
        f"--bands {show_choice(choice)}: {len(choice)} bands for a model whose input has {channels} channel(s)."
    )


def input_values(
    source: Image.Image | Bands, choice: BandChoice | None, channels: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values of the bands that are the model's input, one a channel, with a note where something was assumed.

    A picture is an image of three bands. Without a choice, a grey image goes to all of three channels, and red, green
    and blue become grey for one.

    Returns:
        (height, width, channels): uint8, to be divided by 255; or float32, as mean and deviation take it.

    Raises:
        ImageError: ``bands``: the image has others than the model takes, or than were chosen; ``unsupported``.
    """
    bands = as_bands(source)
    if choice is None and (bands.count, channels) == (3, 1):
        values, notes = scale(bands)
        return _luma(values), notes
    return scale(choose_bands(bands, choice, channels))


def choose_bands(bands: Bands, choice: BandChoice | None, channels: int) -> Bands:
    """As many bands as there are channels.

    Raises:
        ImageError: ``bands``: the image has others than the model takes, or than were chosen.
    """
    count = bands.count
    if choice is None:
        if count == channels:
            return bands
        if (count, channels) == (1, 3):
            return _picked(bands, (1, 1, 1))
        raise ImageError("bands", _mismatch(bands, channels))
    if choice == "repeat":
        if count > channels:
            raise ImageError("bands", f"{_count(bands)}, more than the model's {channels}: none can be repeated")
        return _picked(bands, [1 + i % count for i in range(channels)])
    chosen = pick_bands(bands, choice)
    return _picked(chosen, (1,) * channels) if len(choice) == 1 else chosen


def pick_bands(source: Bands, choice: Sequence[int], flag: str = "--bands") -> Bands:
    """The bands of these numbers, in this order.

    Raises:
        ImageError: ``bands``: the image has no such band.
    """
    if max(choice) > source.count:
        raise ImageError("bands", f"it has no band {max(choice)}, as {flag} asks for: {_count(source)}")
    return _picked(source, choice)


def as_bands(source: Image.Image | Bands) -> Bands:
    """A picture's bands: red, green, blue."""
    return source if isinstance(source, Bands) else Bands(np.asarray(source), is_picture=True)


def scale(bands: Bands) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values as the model's mean and deviation take them, with a note where their range was assumed.

    Returns:
        (height, width, bands): uint8 as it is (it is divided by 255 later), or float32.

    Raises:
        ImageError: ``unsupported``: a type without a usual range, or values that are not finite.
    """
    values = bands.values
    kind = values.dtype
    if kind == np.uint8:
        return values, ()
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255), ()
    if kind.kind in "iu" and kind.itemsize <= 2:
        most = int(np.iinfo(kind).max)
        return values.astype(np.float32) / np.float32(most), (f"{ASSUMED}{kind.name} values are divided by {most}",)
    if kind.kind != "f":
        raise ImageError(
            "unsupported",
            f"values of type {kind.name} have no usual range: save them as uint8, uint16, int16 or float32",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype(np.float32)
    check_finite(floats)
    notes = () if bands.is_scaled else (f"{ASSUMED}floating-point values are taken as they are, not scaled",)
    return floats, notes


def check_finite(values: np.ndarray) -> None:
    """Refuse floating-point values of which the model would make NaN.

    Raises:
        ImageError: ``unsupported``.
    """
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ImageError(
            "unsupported",
            f"{wrong:,} of its {values.size:,} values are not finite (NaN, infinite, or too large for float32), "
            "which would make every output of the model NaN: replace them",
        )


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
    values = pick_bands(bands, show, "--show-bands").values
    shown = np.dstack([_as_bytes(values[:, :, i], bands.is_scaled) for i in range(values.shape[2])])
    return Image.fromarray(np.ascontiguousarray(shown[:, :, 0] if len(show) == 1 else shown)).convert("RGB")


def _as_bytes(values: np.ndarray, is_scaled: bool) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype(np.float64)
    floats[~np.isfinite(floats)] = np.nan
    low, high = (0.0, 1.0) if is_scaled else _limits(floats)
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.clip((floats - low) / ((high - low) or 1.0), 0, 1)
    shown: np.ndarray = np.rint(np.nan_to_num(share) * 255).astype(np.uint8)
    return shown


def _limits(values: np.ndarray) -> tuple[float, float]:
    """What is drawn black and white of a band; from a regular sample of a large one."""
    step = max(1, -(-values.size // _SAMPLES))
    sampled = values.ravel()[::step]
    sampled = sampled[np.isfinite(sampled)]
    if not sampled.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(sampled, _LIMITS))
    return (low, high) if high > low else (float(sampled.min()), float(sampled.max()))


def _picked(source: Bands, choice: Sequence[int]) -> Bands:
    return Bands(source.values[:, :, [number - 1 for number in choice]], source.is_scaled)


def _luma(values: np.ndarray) -> np.ndarray:
    """(height, width, 1) of red, green and blue; 8-bit values as Pillow converts them."""
    if values.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))[:, :, None]
    grey: np.ndarray = values @ _LUMA[:, None]
    return grey


def _mismatch(bands: Bands, channels: int) -> str:
    count = bands.count
    height, width = bands.values.shape[:2]
    hint = ""
    if height <= _FEW < count:
        hint = f" (height, width, bands are {height}, {width}, {count}: transpose it if its bands come first)"
    text = f"{_count(bands)}{hint}, and the model takes {channels}: "
    if count > channels:
        first = "the first" if channels == 1 else f"the first {channels}"
        return text + f"--bands {_example(count, channels)} gives it {first}"
    return text + f"--bands repeat repeats them, --bands {_example(count, channels)} chooses"


def _example(count: int, channels: int) -> str:
    return ",".join(str(1 + i % count) for i in range(channels)) if channels <= 8 else "1,2,…"


def _count(bands: Bands) -> str:
    if bands.is_picture:
        return f"it is a picture of {bands.count} bands (RGB)"
    return "it has 1 band" if bands.count == 1 else f"it has {bands.count} bands"
