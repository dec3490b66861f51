"""A user's own preprocessing: any callable from an image to a tensor, and what its output shows of the image.

It gets a Pillow image where Pillow can carry the image: RGB pictures, and 8-bit bands of one (L), three (RGB) or four
(RGBA). Any other image comes as an array (height, width, bands) of the type that the file has, with all its bands; or,
where the callable does not make the model's input of that, as a tensor (bands, height, width) of the same values. A
callable that fails on a Pillow image gets pictures as arrays or tensors, too.

What a callable does inside is unknown, so it is measured: it is run on a horizontal and a vertical ramp of the image's
size, and on a black and a white image, which cancel its normalisation. Where the output of a ramp lies between black
and white gives the column or row of the original a pixel came from; a line through those gives the view's edges.

A callable that draws random numbers gets a seed of the image's values and ``--seed``, for the image and for the ramps.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cached_property, lru_cache, partial
from typing import Any, Literal

import numpy as np
from PIL import Image

from camcli.errors import ConfigError, ImageError, is_out_of_memory
from camcli.images.bands import Bands, check_finite
from camcli.images.geometry import Size, View

Form = Literal["picture", "array", "tensor"]
"""What a callable gets."""

_PROBE = (480, 640)  # height, width of the plain image that reveals the output's shape
_MANY_BANDS = 32  # of a plain image for callables that choose bands by themselves
_TOLERANCE = 0.02  # of the image's side: how far a pixel may lie off the fitted line
_KNOWN_SIZES = 256


class CustomTransform:
    """A callable image → normalised tensor or array (C, H, W), or (1, C, H, W), with its view.

    Args:
        transform: the user's callable.
        channels: of the model's input.
        seed: of a callable that draws random numbers; the same image gives the same tensor.
    """

    def __init__(self, transform: Callable[[Any], Any], channels: int = 3, seed: int = 0) -> None:
        self._transform, self._channels, self._seed = transform, channels, seed
        self._takes_pictures = True
        self.name = str(getattr(transform, "__qualname__", type(transform).__qualname__))
        self._view = lru_cache(maxsize=_KNOWN_SIZES)(self._find_view)

    def seeded(self, seed: int) -> "CustomTransform":
        """The same callable with another seed."""
        other = CustomTransform(self._transform, self._channels, seed)
        other._takes_pictures = self._takes_pictures
        other.__dict__["is_random"] = self.is_random  # not found out again
        return other

    @cached_property
    def is_random(self) -> bool:
        """Whether it draws random numbers, found out on a plain image.

        Raises:
            ConfigError: its output changes, and no seed of torch, NumPy or Python decides that.
        """
        from camcli.randomness import repeat  # here alone: torch, which it needs, takes seconds to import

        ramp = np.repeat(_ramp(_PROBE, axis=1)[:, :, None], 3 if self._takes_pictures else self._channels, axis=2)
        form: Form = "picture" if self._takes_pictures else "array"
        try:
            kind = repeat(lambda: self(_as_form(ramp, form)), partial(np.array_equal, equal_nan=True)).kind
        except Exception as error:  # the user's code may raise anything: it is said for each image that it fails on
            if is_out_of_memory(error):
                raise
            return False
        if kind == "unrepeatable":
            raise ConfigError(
                f"the preprocessing {self.name} gives another tensor each time for the same image, and no seed of "
                "torch, NumPy or Python decides it. Return the preprocessing of your validation, without augmentation."
            )
        return kind == "random"

    def assumptions(self) -> tuple[str, ...]:
        """That it is random, and that it was not found what it shows of an image; tried with a plain one."""
        form: Form = "picture" if self._takes_pictures else "array"
        seed = self._seed if self.is_random else None
        notes = self._view(_PROBE, form, 3 if self._takes_pictures else self._channels, seed)[1]
        seeded = f"the preprocessing {self.name} draws random numbers: they are seeded by the image and --seed"
        return (seeded, *notes) if self.is_random else notes

    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the output for a plain image: RGB, or with as many bands as the model takes.

        Raises:
            ConfigError: the callable fails on it or returns something else.
        """
        shapes: list[tuple[int, ...]] = []
        failure: Exception | None = None
        for count in (3, self._channels, _MANY_BANDS):
            plain = np.full((*_PROBE, count), 128, np.uint8)
            for form in _forms(plain):
                try:
                    shapes.append(self._run(_as_form(plain, form), 0).shape)
                except Exception as error:  # the user's code may raise anything
                    if is_out_of_memory(error):
                        raise
                    failure = failure or error
                    if (count, form) == (3, "picture"):
                        self._takes_pictures = False
                    continue
                if shapes[-1][0] == self._channels:
                    return shapes[-1][0], shapes[-1][1], shapes[-1][2]
            if count == 3 and shapes and self._channels == 3:
                break  # it takes pictures: the model says what is wrong with another number of channels
        if shapes:
            return shapes[0][0], shapes[0][1], shapes[0][2]
        raise ConfigError(
            f"the preprocessing {self.name} fails on a plain {_PROBE[1]}×{_PROBE[0]} RGB image: {failure}. It must "
            "take a PIL image and return a normalised tensor (channels, height, width)."
        ) from failure

    def __call__(self, image: Any) -> np.ndarray:
        """The callable's output (C, H, W) float32, not seeded; whatever it raises passes through."""
        out = self._transform(image)
        if hasattr(out, "detach"):
            out = out.detach().cpu().float()
        pixels = np.asarray(out)
        if pixels.ndim == 4 and pixels.shape[0] == 1:
            pixels = pixels[0]
        if pixels.ndim != 3 or pixels.dtype.kind not in "fiu":
            raise TypeError(f"it returned {type(out).__name__} of shape {_times(pixels.shape)} and type {pixels.dtype}")
        return np.ascontiguousarray(pixels, dtype=np.float32)

    def _run(self, image: Any, seed: int | None) -> np.ndarray:
        """The output with random numbers from a seed, where there is one."""
        from camcli.randomness import seeded

        with seeded(seed) if seed is not None else nullcontext():
            return self(image)

    def _seed_of(self, values: Image.Image | np.ndarray) -> int | None:
        """The seed of an image; None for a callable that draws no random numbers."""
        from camcli.randomness import seed_from

        return seed_from(values.tobytes(), self._seed) if self.is_random else None

    def prepare(
        self, image: Image.Image | Bands, expected: tuple[int, int, int]
    ) -> tuple[np.ndarray, View, tuple[str, ...]]:
        """The pixels (C, H, W) float32 of an image, their view in its pixels, and notes on the view.

        Raises:
            ImageError: the output has another shape than ``expected``, or the callable fails.
        """
        if isinstance(image, Bands):
            return self._prepare_bands(image.values, _forms(image.values), expected)
        if not self._takes_pictures:
            return self._prepare_bands(np.asarray(image), ("array", "tensor"), expected)
        seed = self._seed_of(image)
        try:
            pixels = self._run(image, seed)
        except Exception as error:  # the user's code may raise anything; it is this image's failure
            if is_out_of_memory(error):
                raise
            raise ImageError("internal", f"the preprocessing {self.name} failed: {error}") from error
        if pixels.shape != expected:
            raise ImageError(
                "unsupported" if pixels.shape[0] == expected[0] else "bands",
                f"the preprocessing {self.name} gives {_times(pixels.shape)} for this image of "
                f"{image.width}×{image.height}, and the model takes {_times(expected)}",
            )
        view, notes = self._view((image.height, image.width), "picture", 3, seed)
        return pixels, view, notes

    def _prepare_bands(
        self, values: np.ndarray, forms: Iterable[Form], expected: tuple[int, int, int]
    ) -> tuple[np.ndarray, View, tuple[str, ...]]:
        reasons = []
        seed = self._seed_of(values)
        for form in forms:
            try:
                pixels = self._run(_as_form(values, form), seed)
            except Exception as error:  # the user's code may raise anything
                if is_out_of_memory(error):
                    raise
                reasons.append(f"for {_describe(values, form)} it raises {type(error).__name__}: {error}")
                continue
            if pixels.shape == expected:
                check_finite(pixels, f"that the preprocessing {self.name} gives")
                view, notes = self._view((values.shape[0], values.shape[1]), form, values.shape[2], seed)
                return pixels, view, notes
            reasons.append(f"for {_describe(values, form)} it gives {_times(pixels.shape)}")
        text = "; ".join(" ".join(reason.split()) for reason in reasons)
        raise ImageError("bands", f"the preprocessing {self.name} does not give the model's {_times(expected)}: {text}")

    def _find_view(self, size: Size, form: Form, bands: int, seed: int | None) -> tuple[View, tuple[str, ...]]:
        def result(grey: np.ndarray) -> np.ndarray:
            return self._run(_as_form(np.repeat(grey[:, :, None], bands, axis=2), form), seed)

        whole = View(0.0, 0.0, float(size[1]), float(size[0]))
        try:
            black, white = result(np.zeros(size, np.uint8)), result(np.full(size, 255, np.uint8))
            across, down = result(_ramp(size, axis=1)), result(_ramp(size, axis=0))
            x = _fit(across, black, white, size[1], axis=1)
            y = _fit(down, black, white, size[0], axis=0)
        except Exception as error:  # a probe is no photograph: failing on it is no fault of the image
            if is_out_of_memory(error):
                raise
            return whole, (f"what the preprocessing shows was not found ({error}); assumed: the whole image",)
        return View(x[0], y[0], x[1], y[1]), ()


def _forms(values: np.ndarray) -> tuple[Form, ...]:
    """What to try for bands (height, width, bands), in this order."""
    if values.dtype == np.uint8 and values.shape[2] in (1, 3, 4):
        return ("picture", "array", "tensor")
    return ("array", "tensor")


def _as_form(values: np.ndarray, form: Form) -> Any:
    if form == "picture":
        return Image.fromarray(np.ascontiguousarray(values[:, :, 0] if values.shape[2] == 1 else values))
    if form == "array":
        return values
    import torch

    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def _describe(values: np.ndarray, form: Form) -> str:
    height, width, bands = values.shape
    if form == "picture":
        return "a Pillow image"
    return f"{values.dtype.name} " + (
        f"array {height}×{width}×{bands}" if form == "array" else f"tensor {bands}×{height}×{width}"
    )


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"


def _ramp(size: Size, axis: int) -> np.ndarray:
    """(height, width) uint8 that rises from 0 to 255 along an axis (0: downwards, 1: to the right)."""
    values = np.round(np.linspace(0, 255, size[axis])).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values[:, None] if axis == 0 else values[None, :], size))


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
