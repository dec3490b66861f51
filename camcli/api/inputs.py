"""Everything that `explain` takes as an image, as the stream's images."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from camcli.errors import ImageError, SourceError
from camcli.images import (
    ACCEPTED_ARRAYS,
    Decoded,
    DecodeSettings,
    Entry,
    Prepared,
    Preprocessing,
    View,
    as_pixels,
    decode,
    decode_pillow,
    from_array,
    show_input,
    split_batch,
)
from camcli.images.reading import read_path
from camcli.pipeline.items import Loaded
from camcli.pipeline.targets import TargetSpec
from camcli.storage import as_local, masked

ImageLike: TypeAlias = str | os.PathLike[str] | np.ndarray | torch.Tensor | Image.Image
"""One image, or a batch of arrays or tensors."""

Single: TypeAlias = str | os.PathLike[str] | np.ndarray | Image.Image
"""One image; an array is (H, W) or (H, W, C)."""

_ONE = (str, os.PathLike, np.ndarray, torch.Tensor, Image.Image)


@dataclass(frozen=True)
class InputImage(Loaded):
    """An image as the stream takes it, and how its upright original is decoded for its pictures."""

    original: Callable[[], Image.Image]


def single_images(images: Iterable[ImageLike] | ImageLike, channels: int) -> Iterator[Single]:
    """Every image by itself, batches taken apart, each only when it is asked for.

    Args:
        images: one, a batch, or an iterable of them.
        channels: that the model takes.

    Raises:
        TypeError: something that is no image; the message says what is.
    """
    if isinstance(images, _ONE):
        yield from _parts(images, channels)
    elif isinstance(images, Iterable) and not isinstance(images, bytes | dict):
        for image in images:
            yield from _parts(image, channels)
    else:
        raise TypeError(_not_an_image(images))


def count_images(images: object) -> int | None:
    """How many images these are, where that is known without reading them."""
    if isinstance(images, np.ndarray | torch.Tensor):
        return len(images) if images.ndim == 4 else 1
    if isinstance(images, _ONE):
        return 1
    if isinstance(images, Sequence):
        return sum(count_images(image) or 0 if isinstance(image, _ONE) else 1 for image in images)
    return None


def load_image(
    image: Single, preprocessing: Preprocessing, settings: DecodeSettings, own_target: TargetSpec | None
) -> InputImage:
    """Read and preprocess one image.

    Raises:
        ImageError: a file that cannot be read or decoded.
        SourceError: an array without pixels, or of floats that are no pixels.
    """
    path, prepared, original = "", None, None
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        data = _read(path)
        decoded = _decode(path, data, settings)
        original = partial(_decode_image, path, data, settings)
    elif isinstance(image, Image.Image):
        decoded = decode_pillow(image, settings)
    elif (inputs := _as_input(image, preprocessing)) is not None:
        decoded = show_input(inputs)
        prepared = Prepared(inputs, View(0.0, 0.0, float(inputs.shape[1]), float(inputs.shape[0])))
    else:
        decoded = from_array(as_pixels(image, preprocessing), settings)
    try:
        prepared = prepared or preprocessing(decoded.source)
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error.message}" if path else error.message) from error
    return InputImage(
        Entry(path, path, ordinal=0, source="", source_slug=""), decoded.metadata, prepared.pixels, prepared.view,
        canvas=None, label=None, own_target=own_target, original=original or decoded.image.copy,
    )  # fmt: skip


def _parts(image: object, channels: int) -> Iterable[Single]:
    if isinstance(image, torch.Tensor):
        if image.layout != torch.strided or image.is_quantized or image.is_meta:
            kind = "meta" if image.is_meta else "quantised" if image.is_quantized else "sparse"
            raise TypeError(f"images: a {kind} tensor is not accepted. Give a dense one, with values.")
        tensor = image.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        return split_batch(array, channels, channels_first=True)
    if isinstance(image, np.ndarray):
        return split_batch(image, channels, channels_first=False)
    if isinstance(image, str | os.PathLike | Image.Image):
        return (image,)
    raise TypeError(_not_an_image(image))


def _not_an_image(value: object) -> str:
    return (
        f"images: {type(value).__name__} is not accepted. Give a file name, a Pillow image, or an array or tensor "
        f"({ACCEPTED_ARRAYS}); or an iterable of these."
    )


def _as_input(array: np.ndarray, preprocessing: Preprocessing) -> np.ndarray | None:
    """The array as the model's input (H, W, C), where it is one as it stands: floats that are not to be normalised."""
    if not preprocessing.is_plain or array.dtype.kind != "f" or preprocessing.bands is not None:
        return None
    inputs = np.ascontiguousarray(np.atleast_3d(array), dtype=np.float32)
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    return inputs if inputs.shape == shape and array.size else None


def _read(path: str) -> bytes:
    try:
        return read_path(as_local(path))
    except IsADirectoryError as error:
        raise SourceError(f"{path}: a folder. Give the files in it, or let camcli.run explain the folder.") from error
    except (OSError, ValueError) as error:
        raise ImageError("missing", f"{masked(path)}: cannot be read ({getattr(error, 'strerror', error)})") from error


def _decode_image(path: str, data: bytes, settings: DecodeSettings) -> Image.Image:
    return _decode(path, data, settings).image


def _decode(path: str, data: bytes, settings: DecodeSettings) -> Decoded:
    try:
        return decode(data, settings)
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error.message}") from error
