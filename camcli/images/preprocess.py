"""From an upright image to the model's input, exactly as the model was trained and evaluated.

:class:`Preprocessing` describes what torchvision's ``weights.transforms()`` and timm's ``create_transform`` do with
Pillow (resize, crop or pad, to [0, 1], normalise) and does it with the same Pillow operations and the same rounding, so
that the tensor is the same bit for bit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

import numpy as np
from PIL import Image

from camcli.errors import ConfigError
from camcli.images.bands import (
    BandChoice,
    Bands,
    as_bands,
    band_numbers,
    check_choice,
    check_numbers,
    check_shares,
    input_bands,
    show_choice,
)
from camcli.images.custom import CustomTransform
from camcli.images.geometry import Placement, Size, View, covering, fitting, place_centred, shorter_side
from camcli.images.resample import INTERPOLATIONS, window_bands, window_pixels

Resize = Literal["crop", "squash", "pad"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Prepared:
    """One image, ready for a batch.

    Attributes:
        pixels: (height, width, channels), uint8 or float32, of which mean and deviation are still to be taken; or
            (channels, height, width) float32, normalised already, where the preprocessing is a user's own callable.
        view: what the pixels cover, in upright original pixels.
        notes: what a reader of the index should know about the view, and about values that were assumed.
    """

    pixels: np.ndarray
    view: View
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preprocessing:
    """A model's own preprocessing.

    Attributes:
        channels, height, width: of the model's input.
        mean, std: per channel, of pixels in [0, 1] (of floating-point values as they are). A single value is repeated;
            three are averaged for one channel and repeated in turn for more.
        resize: ``crop`` keeps the shape and covers ``resize_to``, ``pad`` keeps the shape and fits into it, ``squash``
            does not keep it; in each case the central (height, width) is then cut out or padded to.
        resize_to: length of the shorter side, or (height, width); None is (height, width) of the input.
        interpolation: one of :data:`INTERPOLATIONS`, antialiased.
        fill: colour 0–255 of padding with ``pad``, one value or one per channel of the image; None is the mean colour.
            The others pad black where they must, as torchvision's centre crop does.
        custom: a user's own callable from an image to a normalised tensor (channels, height, width), in place of all of
            the above but the input's shape. Kept as a :class:`CustomTransform`.
        crop_pct: the share of the resized image that the input shows, where the model's configuration states it; used
            when the input size is changed.
        bands: which bands of an image are the input's channels; None: all, where they are as many.

    Raises:
        ConfigError: values that do not fit together.
    """

    channels: int = 3
    height: int = 224
    width: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: Resize = "crop"
    resize_to: int | Size | None = None
    interpolation: str = "bilinear"
    fill: int | tuple[int, ...] | None = None
    custom: Callable[..., Any] | None = None
    crop_pct: float | None = None
    bands: BandChoice | None = None

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1:
            raise ConfigError(f"an input of {self.channels}×{self.height}×{self.width} has no pixels.")
        if self.resize not in ("crop", "squash", "pad"):
            raise ConfigError(f"resize {self.resize!r}: choose crop, squash or pad.")
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(f"interpolation {self.interpolation!r}: choose one of {', '.join(INTERPOLATIONS)}.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            object.__setattr__(self, name, _per_channel(name, values, self.channels))
        if not all(value > 0 for value in self.std):
            raise ConfigError(f"std {self.std}: every channel needs a positive number.")
        check_choice(self.bands, self.channels, has_own_preprocessing=self.custom is not None)
        if self.custom is not None and not isinstance(self.custom, CustomTransform):
            object.__setattr__(self, "custom", CustomTransform(self.custom))

    @classmethod
    def from_callable(cls, transform: Callable[[Any], Any], channels: int = 3) -> Self:
        """A user's own callable, whose output for a plain image gives the input's shape.

        Args:
            transform: see :class:`CustomTransform`.
            channels: that the model takes.

        Raises:
            ConfigError: it fails on a plain image, returns anything else than a tensor (channels, height, width), or is
                random in a way that no seed decides.
        """
        own = CustomTransform(transform, channels)
        channels, height, width = own.output_shape()
        _ = own.is_random  # raises for what cannot be repeated
        return cls(channels, height, width, mean=(0.0,), std=(1.0,), custom=own)

    def seeded(self, seed: int) -> Self:
        """The same; a user's own callable that draws random numbers starts from a seed of the image and this one."""
        if not isinstance(self.custom, CustomTransform) or not self.custom.is_random:
            return self
        return replace(self, custom=self.custom.seeded(seed))

    @property
    def description(self) -> str:
        """One line for the index and for people, e.g. ``crop: shorter side to 256, bilinear, central 224×224``."""
        bands = "" if self.bands is None else f"; bands {show_choice(self.bands)}"
        if isinstance(self.custom, CustomTransform):
            return f"custom: {self.custom.name}, {self.height}×{self.width}{bands}"
        if self.resize == "crop" and isinstance(self.resize_to, int):
            to = f"shorter side to {self.resize_to}"
        else:
            verb = {"crop": "cover", "squash": "exactly", "pad": "fit into"}[self.resize]
            to = f"{verb} {self._box[0]}×{self._box[1]}"
        return f"{self.resize}: {to}, {self.interpolation}, central {self.height}×{self.width}{bands}"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What has to be assumed of a user's own callable, one line each."""
        return self.custom.assumptions() if isinstance(self.custom, CustomTransform) else ()

    def __call__(self, image: Image.Image | Bands, original: Size | None = None) -> Prepared:
        """Prepare one image.

        Args:
            image: upright: an RGB picture, or the values of other bands.
            original: (height, width) that ``view`` shall refer to, where ``image`` was decoded at a smaller size.

        Raises:
            ImageError: the image has other bands than the model takes, values that are not finite, or the user's own
                transform fails or does not give the input's shape for it.
        """
        width, height = image.size
        notes: tuple[str, ...] = ()
        if isinstance(self.custom, CustomTransform):
            expected = (self.channels, self.height, self.width)
            pixels, view, notes = self.custom.prepare(self._chosen(image), expected)
        else:
            placement = self.place((height, width))
            pixels, notes = self._window(image, placement)
            view = placement.view
        if original is not None:
            view = view.scaled(original[1] / width, original[0] / height)
        return Prepared(pixels, view, notes)

    def _window(self, image: Image.Image | Bands, placement: Placement) -> tuple[np.ndarray, tuple[str, ...]]:
        if isinstance(image, Image.Image) and self.bands is None and self.channels in (1, 3):
            return window_pixels(image, placement, self.interpolation, self._fill, self.channels), ()
        bands = as_bands(image)
        values, notes = input_bands(bands, self.bands, self.channels)
        if not bands.is_scaled and self.is_of_shares and not self.is_plain:
            values = map(check_shares, values)
        fill: Sequence[float] = self._fill
        if not bands.is_bytes:
            has_mean_colour = self.resize == "pad" and self.fill is None
            fill = self.mean if has_mean_colour else [colour / 255 for colour in fill]
        return window_bands(values, placement, self.interpolation, fill), notes

    @property
    def is_of_shares(self) -> bool:
        """Whether mean and deviation are of values in 0 to 1, so that no others are meant."""
        return self.custom is None and all(0 <= m <= 1 for m in self.mean) and all(s <= 1 for s in self.std)

    @property
    def is_plain(self) -> bool:
        """Whether values are the model's input as they are: mean 0 and deviation 1."""
        return self.custom is None and not any(self.mean) and all(s == 1 for s in self.std)

    def _chosen(self, image: Image.Image | Bands) -> Image.Image | Bands:
        """What a user's own transform gets: all bands, but where some are chosen."""
        if self.bands is None:
            return image
        bands = as_bands(image)
        if self.bands == "repeat":
            return bands.picked(band_numbers(bands, self.bands, self.channels))
        check_numbers(bands, self.bands)
        return bands.picked(self.bands)

    def place(self, image: Size) -> Placement:
        """The placement of an image of (height, width)."""
        return place_centred(image, self._resized_size(image), (self.height, self.width))

    def changed(
        self,
        *,
        input_size: Size | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        resize: str = "own",
        bands: BandChoice | None = None,
    ) -> Self:
        """The same with some of it set by hand (``--input-size``, ``--mean``, ``--std``, ``--resize``, ``--bands``).

        Another input size keeps the share of the image that is shown. ``squash`` and ``pad``, where the model's own is
        another, show all of it; the padding then has the mean colour.

        Raises:
            ConfigError: values that do not fit, or any of it for a user's own transform.
        """
        if bands is not None:
            return replace(self, bands=bands).changed(input_size=input_size, mean=mean, std=std, resize=resize)
        if input_size is None and mean is None and std is None and resize in ("own", self.resize):
            return self
        if self.custom is not None:
            raise ConfigError(
                "--input-size, --mean, --std and --resize do not apply to the model's own preprocessing callable; "
                "set them there."
            )
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and self.channels > 3 and len(values) not in (1, self.channels):
                raise _wrong_number(name, values, self.channels)
        new = replace(self, mean=tuple(mean or self.mean), std=tuple(std or self.std))
        if input_size is not None:
            new = new._with_size(*input_size)
        return new if resize in ("own", self.resize) else new._with_resize(cast(Resize, resize))

    def _with_size(self, height: int, width: int) -> Self:
        if min(height, width) < 1:
            raise ConfigError(f"--input-size {height}x{width}: both sides need at least one pixel.")
        if self.resize_to is None:
            return replace(self, height=height, width=width)
        if self.crop_pct:
            box = math.floor(height / self.crop_pct), math.floor(width / self.crop_pct)
        else:
            box = height * self._box[0] // self.height, width * self._box[1] // self.width
        return replace(self, height=height, width=width, resize_to=self._as_side(box))

    def _with_resize(self, resize: Resize) -> Self:
        if resize == "crop":
            square = self._box[0] == self._box[1]
            return replace(self, resize="crop", resize_to=self._box[0] if square else self._box)
        return replace(self, resize=resize, resize_to=None, fill=None)

    def _as_side(self, box: Size) -> int | Size:
        # A square crop goes by the shorter side, which rounds differently from covering a box.
        return box[0] if self.resize == "crop" and box[0] == box[1] else box

    @property
    def _box(self) -> Size:
        if self.resize_to is None:
            return self.height, self.width
        return (self.resize_to, self.resize_to) if isinstance(self.resize_to, int) else self.resize_to

    @property
    def _fill(self) -> tuple[int, ...]:
        """Colour of padding, 0–255, one value a channel."""
        if self.resize != "pad":
            colour: Sequence[int] = (0,)
        elif self.fill is None:
            colour = [round(255 * value) for value in self.mean]
        else:
            colour = (self.fill,) if isinstance(self.fill, int) else self.fill
        return tuple(colour[i % len(colour)] for i in range(self.channels))

    def _resized_size(self, image: Size) -> Size:
        if self.resize == "squash":
            return self._box
        if self.resize == "pad":
            return fitting(image, self._box)
        square = self._box[0] == self._box[1] and not isinstance(self.resize_to, tuple)
        return shorter_side(image, self._box[0]) if square else covering(image, self._box)


def _per_channel(name: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    if not all(math.isfinite(value) for value in values):
        raise ConfigError(f"--{name} {tuple(values)}: finite numbers are needed.")
    if len(values) == channels:
        return tuple(float(value) for value in values)
    if len(values) == 1:
        return (float(values[0]),) * channels
    if len(values) == 3:
        return (sum(values) / 3,) if channels == 1 else tuple(float(values[i % 3]) for i in range(channels))
    raise _wrong_number(name, values, channels)


def _wrong_number(name: str, values: Sequence[float], channels: int) -> ConfigError:
    return ConfigError(f"--{name} has {len(values)} value(s) and the model's input has {channels} channel(s).")
