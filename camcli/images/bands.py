"""Images whose bands are not red, green and blue: which of them the model gets, as which numbers, and which are drawn.

Bands are counted from 1, as in GDAL and rasterio. Integers are divided by the largest value of their type, as
torchvision's ``to_dtype(scale=True)`` does it, so that ``--mean`` and ``--std`` are of values in 0…1; floating-point
values are taken as they are.
"""

from collections.abc import Callable, Iterator, Sequence
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
_FEW = 32
_LEAST_SHARE, _MOST_SHARE = -0.5, 2.0
"""Floating-point values that may be meant as shares: reflectances are somewhat less than 0 and more than 1 at times."""
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

    @property
    def is_bytes(self) -> bool:
        """Whether the model gets them as 8-bit values."""
        return self.values.dtype in (np.uint8, np.bool_)

    @property
    def ceiling(self) -> int | None:
        """What integers of 8 to 16 bits are divided by."""
        kind = self.values.dtype
        return int(np.iinfo(kind).max) if kind.kind in "iu" and kind.itemsize <= 2 else None

    @property
    def assumed(self) -> tuple[str, ...]:
        """A note on the range that was assumed of values that are not of 8 bits."""
        if self.is_bytes or self.is_scaled:
            return ()
        if self.ceiling is not None:
            return (f"{ASSUMED}{self.values.dtype.name} values are divided by {self.ceiling}",)
        return (f"{ASSUMED}floating-point values are taken as they are, not scaled",)

    def picked(self, numbers: Sequence[int]) -> "Bands":
        """These bands, counted from 1, in this order."""
        return Bands(self.values[:, :, [number - 1 for number in numbers]], self.is_scaled)

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


def input_bands(
    source: Image.Image | Bands, choice: BandChoice | None, channels: int
) -> tuple[Iterator[np.ndarray], tuple[str, ...]]:
    """The bands that are the model's input, one a channel, with a note where something was assumed of their values.

    A picture is an image of three bands. Without a choice, a grey image goes to all of three channels, and red, green
    and blue become grey for one.

    Returns:
        (height, width) each, made one by one: uint8, to be divided by 255; or float32, as mean and deviation take it.

    Raises:
        ImageError: ``bands``: the image has others than the model takes, or than were chosen. While the bands are made,
            ``unsupported``: a type without a usual range, or values that are not finite.
    """
    bands = as_bands(source)
    if choice is None and (bands.count, channels) == (3, 1):
        return iter([_luma(*(scale(bands, number) for number in (1, 2, 3)))]), bands.assumed
    return (scale(bands, number) for number in band_numbers(bands, choice, channels)), bands.assumed


def band_numbers(bands: Bands, choice: BandChoice | None, channels: int) -> tuple[int, ...]:
    """The numbers of as many bands as there are channels.

    Raises:
        ImageError: ``bands``: the image has others than the model takes, or than were chosen.
    """
    count = bands.count
    if choice is None:
        if count == channels:
            return tuple(range(1, count + 1))
        if (count, channels) == (1, 3):
            return (1, 1, 1)
        raise ImageError("bands", _mismatch(bands, channels))
    if choice == "repeat":
        if count > channels:
            raise ImageError("bands", f"{_count(bands)}, more than the model's {channels}: none can be repeated")
        return tuple(1 + i % count for i in range(channels))
    check_numbers(bands, choice)
    return choice * channels if len(choice) == 1 else choice


def check_numbers(bands: Bands, numbers: Sequence[int], flag: str = "--bands") -> None:
    """Check that the image has bands of these numbers.

    Raises:
        ImageError: ``bands``: it has not.
    """
    if max(numbers) > bands.count:
        raise ImageError("bands", f"it has no band {max(numbers)}, as {flag} asks for: {_count(bands)}")


def as_bands(source: Image.Image | Bands) -> Bands:
    """A picture's bands: red, green, blue."""
    return source if isinstance(source, Bands) else Bands(np.asarray(source), is_picture=True)


def scale(bands: Bands, number: int) -> np.ndarray:
    """One band as the model's mean and deviation take it.

    Returns:
        (height, width): uint8 as it is (it is divided by 255 later), or float32.

    Raises:
        ImageError: ``unsupported``: a type without a usual range, or values that are not finite.
    """
    values = np.ascontiguousarray(bands.values[:, :, number - 1])
    kind = values.dtype
    if kind == np.uint8:
        return values
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if bands.ceiling is not None:
        return values.astype(np.float32) / np.float32(bands.ceiling)
    if kind.kind != "f":
        raise ImageError(
            "unsupported",
            f"values of type {kind.name} have no usual range: save them as uint8, uint16, int16 or float32",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        floats: np.ndarray = values.astype(np.float32)
    check_finite(floats, f"of band {number}")
    return floats


def check_finite(values: np.ndarray, whose: str) -> None:
    """Refuse floating-point values of which the model would make NaN.

    Raises:
        ImageError: ``unsupported``.
    """
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ImageError(
            "unsupported",
            f"{wrong:,} of the {values.size:,} values {whose} are not finite (NaN, infinite, too large for float32), "
            "which would make every output of the model NaN: replace them",
        )


def check_shares(values: np.ndarray) -> np.ndarray:
    """The values of a band, where a mean and deviation of values in 0…1 may be meant for them.

    Raises:
        ImageError: ``unsupported``: floating-point values far from that, such as 0…255, or normalised already.
    """
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if low < _LEAST_SHARE or high > _MOST_SHARE:
            raise ImageError(
                "unsupported",
                f"floating-point values from {low:.4g} to {high:.4g}, and the mean and deviation are of values in 0 to "
                "1: divide them (by 255, say), give --mean and --std of such values, or --mean 0 --std 1 for values "
                "that are normalised already",
            )
    return values


def _luma(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Grey (height, width); 8-bit values as Pillow converts them."""
    if red.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.dstack([red, green, blue])).convert("L"))
    grey: np.ndarray = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
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
