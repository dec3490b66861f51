"""A user's own preprocessing: any callable from an image to a tensor, and what its output shows of the image.

What a callable does inside is unknown, so it is measured: it is run on a horizontal and a vertical ramp of the image's
size, and on a black and a white image, which cancel its normalisation. Where the output of a ramp lies between black
and white gives the column or row of the original a pixel came from; a line through those gives the view's edges.

A callable that draws random numbers gets a seed of the image's pixels and ``--seed``, for the image and for the ramps.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from PIL import Image

from camcli.errors import ConfigError, ImageError
from camcli.images.geometry import Size, View

_PROBE = (480, 640)  # height, width of the plain image that reveals the output's shape
_TOLERANCE = 0.02  # of the image's side: how far a pixel may lie off the fitted line
_KNOWN_SIZES = 256


class CustomTransform:
    """A callable (PIL image) → normalised tensor or array (C, H, W), or (1, C, H, W), with its view.

    Args:
        transform: the user's callable.
        seed: of a callable that draws random numbers; the same image gives the same tensor.
    """

    def __init__(self, transform: Callable[[Image.Image], Any], seed: int = 0) -> None:
        self._transform = transform
        self._seed = seed
        self.name = str(getattr(transform, "__qualname__", type(transform).__qualname__))
        self._view = lru_cache(maxsize=_KNOWN_SIZES)(self._find_view)

    def seeded(self, seed: int) -> "CustomTransform":
        """The same callable with another seed."""
        other = CustomTransform(self._transform, seed)
        other.__dict__["is_random"] = self.is_random  # known already
        return other

    @cached_property
    def is_random(self) -> bool:
        """Whether it draws random numbers, found out on a plain image.

        Raises:
            ConfigError: its output changes, and no seed of torch, NumPy or Python decides that.
        """
        from camcli.randomness import repeat  # here alone: torch, which it needs, takes seconds to import

        ramp = _ramp(_PROBE, axis=1)
        try:
            kind = repeat(lambda: self._run(ramp), partial(np.array_equal, equal_nan=True)).kind
        except Exception:  # the user's code may raise anything: it is said for each image that it fails on
            return False
        if kind == "unrepeatable":
            raise ConfigError(
                f"the preprocessing {self.name} gives another tensor each time for the same image, and no seed of "
                "torch, NumPy or Python decides it. Return the preprocessing of your validation, without augmentation."
            )
        return kind == "random"

    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the output for a plain image.

        Raises:
            ConfigError: the callable fails on it or returns something else.
        """
        try:
            channels, height, width = self._run_seeded(_plain(_PROBE, 128), 0).shape
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(
                f"the preprocessing {self.name} fails on a plain {_PROBE[1]}×{_PROBE[0]} RGB image: {error}. It must "
                "take a PIL image and return a normalised tensor (channels, height, width)."
            ) from error
        _ = self.is_random  # raises for what cannot be repeated
        return channels, height, width

    def __call__(self, image: Image.Image) -> np.ndarray:
        """The callable's output (C, H, W) float32; whatever it raises passes through."""
        return self._run_seeded(image, self._seed_of(image))

    def _seed_of(self, image: Image.Image) -> int | None:
        from camcli.randomness import seed_from

        return seed_from(image.tobytes(), self._seed) if self.is_random else None

    def _run_seeded(self, image: Image.Image, seed: int | None) -> np.ndarray:
        from camcli.randomness import seeded

        with seeded(seed) if seed is not None else nullcontext():
            return self._run(image)

    def _run(self, image: Image.Image) -> np.ndarray:
        out = self._transform(image)
        if hasattr(out, "detach"):
            out = out.detach().cpu().float()
        pixels = np.asarray(out)
        if pixels.ndim == 4 and pixels.shape[0] == 1:
            pixels = pixels[0]
        if pixels.ndim != 3 or pixels.dtype.kind not in "fiu":
            raise TypeError(f"it returned {type(out).__name__} of shape {_times(pixels.shape)} and type {pixels.dtype}")
        return np.ascontiguousarray(pixels, dtype=np.float32)

    def prepare(self, image: Image.Image, expected: tuple[int, int, int]) -> tuple[np.ndarray, View, tuple[str, ...]]:
        """The pixels (C, H, W) float32 of an RGB image, their view in its pixels, and notes on the view.

        Raises:
            ImageError: the output has another shape than ``expected``, or the callable fails.
        """
        seed = self._seed_of(image)
        try:
            pixels = self._run_seeded(image, seed)
        except Exception as error:  # the user's code may raise anything; it is this image's failure
            raise ImageError("internal", f"the preprocessing {self.name} failed: {error}") from error
        if pixels.shape != expected:
            raise ImageError(
                "unsupported",
                f"the preprocessing {self.name} gives {_times(pixels.shape)} for this image of "
                f"{image.width}×{image.height}, and the model takes {_times(expected)}",
            )
        view, notes = self._view((image.height, image.width), seed)
        return pixels, view, notes

    def assumptions(self) -> tuple[str, ...]:
        """That it is random, and that it was not found what it shows of an image; tried with a plain one."""
        notes = self._view(_PROBE, self._seed if self.is_random else None)[1]
        seeded = f"the preprocessing {self.name} draws random numbers: they are seeded by the image and --seed"
        return (seeded, *notes) if self.is_random else notes

    def _find_view(self, size: Size, seed: int | None) -> tuple[View, tuple[str, ...]]:
        whole = View(0.0, 0.0, float(size[1]), float(size[0]))
        try:
            probes = (_plain(size, 0), _plain(size, 255), _ramp(size, axis=1), _ramp(size, axis=0))
            black, white, across, down = (self._run_seeded(probe, seed) for probe in probes)
            x = _fit(across, black, white, size[1], axis=1)
            y = _fit(down, black, white, size[0], axis=0)
        except Exception as error:  # a probe is no photograph: failing on it is no fault of the image
            return whole, (f"what the preprocessing shows was not found ({error}); assumed: the whole image",)
        return View(x[0], y[0], x[1], y[1]), ()


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"


def _plain(size: Size, value: int) -> Image.Image:
    return Image.new("RGB", (size[1], size[0]), (value, value, value))


def _ramp(size: Size, axis: int) -> Image.Image:
    """Grey that rises from 0 to 255 along an axis (0: downwards, 1: to the right), the same in the three channels."""
    values = np.round(np.linspace(0, 255, size[axis])).astype(np.uint8)
    grey = np.broadcast_to(values[:, None] if axis == 0 else values[None, :], size)
    return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))


def _fit(ramp: np.ndarray, black: np.ndarray, white: np.ndarray, side: int, axis: int) -> tuple[float, float]:
    """Where the output begins and ends along an axis of the original, in its pixels; ValueError where no line fits."""
    if not ramp.shape == black.shape == white.shape:
        raise ValueError("its output changes shape")
    if not (np.isfinite(ramp).all() and np.isfinite(black).all() and np.isfinite(white).all()):
        raise ValueError("it gives no finite numbers for plain images")
    span = white - black
    varies = np.abs(span) > 0.5 * np.abs(span).max(initial=0.0)  # padding is the same in black and in white
    if side < 2 or not varies.any():
        raise ValueError("it gives the same for black and white" if side > 1 else "the image is one pixel wide")
    position = np.where(varies, (ramp - black) / np.where(varies, span, 1), np.nan) * (side - 1) + 0.5
    lines = np.moveaxis(position, 1 + axis, 0).reshape(position.shape[1 + axis], -1)
    places = np.flatnonzero(np.isfinite(lines).any(axis=1))
    medians = np.array([np.nanmedian(lines[i]) for i in places])
    # A resampling filter is cut off at the image's edges and bends the ramp there.
    inner = slice(2, -2) if len(places) >= 12 else slice(None)
    if len(places) < 2:
        raise ValueError("too little of the image is seen")
    slope, start = np.polyfit(places[inner] + 0.5, medians[inner], 1)
    tolerance = max(1.5, _TOLERANCE * side, abs(slope))
    off = np.nanmax(np.abs(lines[places][inner] - (start + slope * (places[inner, None] + 0.5))))
    if slope <= 0 or off > tolerance:
        raise ValueError("it turns, mirrors or bends the image")
    return float(start), float(start + slope * position.shape[1 + axis])
