"""Parsers of settings that are written as text.

Text that cannot be parsed raises a :class:`.ConfigError` that names the flag and shows the right form.
"""

import math
from dataclasses import dataclass
from typing import Literal

from camcli.errors import ConfigError


def flag(name: str) -> str:
    """``batch_size`` → ``--batch-size``."""
    return "--" + name.replace("_", "-")


def parse_count(name: str, value: str) -> int | None:
    """A number of at least 1, or None for ``auto``."""
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{flag(name)} {value}: must be a whole number of at least 1, or auto.")
    return int(value)


def parse_input_size(value: str | None) -> tuple[int, int] | None:
    """``224`` or ``224x320`` → (height, width)."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise ConfigError(f"--input-size {value}: give N or HxW, for example 224 or 224x320.")
    return int(parts[0]), int(parts[-1])


def parse_floats(name: str, value: str | None, example: str = "0.485,0.456,0.406") -> tuple[float, ...] | None:
    """``0.5,0.5,0.5`` → floats."""
    if value is None:
        return None
    try:
        numbers = tuple(float(p) for p in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(math.isfinite(n) for n in numbers) or (name == "std" and min(numbers) <= 0):
        raise ConfigError(f"{flag(name)} {value}: give numbers separated by commas, for example {example}.")
    return numbers


def parse_bands(value: str | None) -> tuple[int, ...] | Literal["repeat"] | None:
    """``4,3,2`` → the numbers of bands, counted from 1; ``repeat`` as it is."""
    if value is None or value == "repeat":
        return value  # type: ignore[return-value]
    return _numbers_from_1("bands", value, "for example 4,3,2, or repeat")


def parse_show_bands(value: str | None) -> tuple[int, ...] | None:
    """Three numbers of bands, counted from 1, or one."""
    if value is None:
        return None
    numbers = _numbers_from_1("show_bands", value, "for example 4,3,2")
    if len(numbers) not in (1, 3):
        raise ConfigError(f"--show-bands {value}: three bands are drawn as red, green and blue, or one as grey.")
    return numbers


def _numbers_from_1(name: str, value: str, example: str) -> tuple[int, ...]:
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and len(part) < 6 and int(part) > 0 for part in parts):
        raise ConfigError(f"{flag(name)} {value}: give numbers of bands, counted from 1: {example}.")
    return tuple(map(int, parts))


def parse_window(value: str | None) -> tuple[float, float] | None:
    """``40,400`` → centre and width."""
    if value is None:
        return None
    numbers = parse_floats("window", value, "40,400")
    if numbers is None or len(numbers) != 2 or numbers[1] < 1:
        raise ConfigError(f"--window {value}: give a centre and a width of at least 1, for example 40,400.")
    return numbers[0], numbers[1]


@dataclass(frozen=True)
class Scale:
    """Limits that normalise raw maps to 0..1: each map's own, fixed ones, or those of a sample of images."""

    low: float | None = None
    high: float | None = None
    sample: int | None = None


def parse_scale(value: str) -> Scale:
    """``per-image``, ``LO:HI`` or ``sample:N``."""
    if value == "per-image":
        return Scale()
    left, _, right = value.partition(":")
    if left == "sample" and right.isdecimal() and int(right) > 0:
        return Scale(sample=int(right))
    try:
        low, high = float(left), float(right)
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"--scale {value}: give per-image, LO:HI with LO < HI (for example 0:2.5), or sample:N.")
    return Scale(low=low, high=high)


@dataclass(frozen=True)
class SampleSize:
    """How many images are chosen at random: in all, or of each class."""

    count: int
    per_class: bool


def parse_sample(value: str | None) -> SampleSize | None:
    """``100`` or ``5/class``."""
    if value is None:
        return None
    count, _, unit = value.partition("/")
    if not count.isdecimal() or int(count) < 1 or value not in (count, f"{count}/class"):
        raise ConfigError(f"--sample {value}: give N or N/class, for example 100 or 5/class.")
    return SampleSize(int(count), unit == "class")


@dataclass(frozen=True)
class Shard:
    """One of the parts of a run that processes explain apart from each other.

    A part is whole batches of the inputs in their order, dealt out in turn: with 3 parts, the first has the batches 0,
    3, 6, …. So no process needs to know how many inputs there are, folders of other sizes of images are spread over
    all parts, and what is appended to a list moves nothing.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def stem(self) -> str:
        """What its files are called, without their endings."""
        return f"{self.index}-of-{self.count}"

    def owns(self, ordinal: int, batch_size: int) -> bool:
        """Whether an input, by its position, is in this part."""
        return ordinal // batch_size % self.count == self.index

    def share(self, images: int, batch_size: int) -> int:
        """How many of so many inputs are in this part."""
        rounds, rest = divmod(images, batch_size * self.count)
        return rounds * batch_size + min(max(rest - self.index * batch_size, 0), batch_size)


def parse_shard(value: str | None) -> Shard | Literal["auto"] | None:
    """``0/4`` or ``auto``."""
    if value is None or value == "auto":
        return value  # type: ignore[return-value]
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal()) or int(index) >= int(count):
        raise ConfigError(
            f"--shard {value}: give I/N with I from 0 to N-1, for example 0/4 to 3/4, or auto under torchrun or Slurm."
        )
    return Shard(int(index), int(count))


@dataclass(frozen=True)
class Parsed:
    """The settings that are written as text, as values.

    Attributes:
        scale: limits of the normalisation.
        batch_size, workers: None for ``auto``.
        input_size: (height, width); None for the model's own.
        mean, std: of each channel, pixels in 0..1; None for the model's own.
        bands, show_bands: numbers of bands, counted from 1; None for all of them, for the first three.
        window: centre and width; None for the file's own.
        sample: how many images are chosen; None for all.
        shard: the part of the inputs that is explained; None for all.
        processes: None for ``auto``.
    """

    scale: Scale
    batch_size: int | None
    workers: int | None
    input_size: tuple[int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    bands: tuple[int, ...] | Literal["repeat"] | None
    show_bands: tuple[int, ...] | None
    window: tuple[float, float] | None
    sample: SampleSize | None
    shard: Shard | Literal["auto"] | None
    processes: int | None
