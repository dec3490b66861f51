"""Images that are in memory already: arrays, tensors as arrays, and Pillow images."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from camcli.errors import ImageError, SourceError
from camcli.images.decode import Decoded, ImageMetadata
from camcli.images.rgb import to_rgb

_PICTURE_CHANNELS = (1, 3, 4)
ACCEPTED_ARRAYS = "uint8, or floats in 0 to 1; (H, W), (H, W, C) or (C, H, W), or a batch (N, …) of the latter two"


def split_batch(array: np.ndarray, channels: int, *, channels_first: bool) -> Sequence[np.ndarray]:
    """The images (H, W) or (H, W, C) of an array that holds one image or a batch.

    Which axis holds the channels is decided by its length: 1, 3, 4, or what the model takes.

    Args:
        array: (H, W), (H, W, C), (C, H, W), (N, H, W, C) or (N, C, H, W).
        channels: that the model takes.
        channels_first: which of both it is where either could be.

    Raises:
        TypeError: another type of numbers, or a shape that is none of these.
    """
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(f"an array of {array.dtype}, shape {array.shape}: give {ACCEPTED_ARRAYS}.")
    if array.ndim == 2:
        return [array]
    if array.ndim not in (3, 4):
        raise TypeError(f"an array of shape {array.shape}: give {ACCEPTED_ARRAYS}.")
    ends = (-3, -1) if channels_first else (-1, -3)
    axis = next((axis for axis in ends if array.shape[axis] in (*_PICTURE_CHANNELS, channels)), None)
    if axis is None:
        raise TypeError(
            f"an array of shape {array.shape}: no axis of it holds 1, 3 or 4 channels, or the {channels} of the model. "
            f"Give {ACCEPTED_ARRAYS}."
        )
    images = np.moveaxis(array, axis, -1)
    return [images] if array.ndim == 3 else list(images)


def decode_array(array: np.ndarray) -> Decoded:
    """The picture of an array.

    Args:
        array: (H, W) or (H, W, C) uint8, or floats in 0 to 1, which are rounded to 256 steps; C is 1, 3, or 4 with
            alpha, which is laid over white.

    Raises:
        SourceError: no pixels, or floats outside 0 to 1.
        TypeError: another number of channels.
    """
    if not array.size:
        raise SourceError(f"an array of shape {array.shape} has no pixels.")
    pixels = array if array.dtype == np.uint8 else _to_bytes(array)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3 and pixels.shape[2] not in _PICTURE_CHANNELS:
        raise TypeError(f"an array of shape {array.shape} with {pixels.shape[2]} channels: give 1, 3 or 4.")
    return _decoded(Image.fromarray(np.ascontiguousarray(pixels)), "array")


def decode_pillow(image: Image.Image) -> Decoded:
    """A Pillow image, upright and in RGB as a file of it would be.

    Raises:
        SourceError: no pixels.
        ImageError: its pixels cannot be loaded or converted.
    """
    if not all(image.size):
        raise SourceError("a Pillow image without pixels.")
    try:
        upright = ImageOps.exif_transpose(image)  # a copy: the user's own image may change later
    except ImageError:
        raise
    except Exception as error:  # of a file that is read only now, decoders raise nearly anything
        raise ImageError("corrupt", f"the Pillow image cannot be loaded ({type(error).__name__}: {error})") from error
    return _decoded(upright, image.format or "Pillow")


def show_input(pixels: np.ndarray) -> Decoded:
    """A picture of a model's input (C, H, W) float32, stretched to its own range where that is not 0 to 1."""
    low, high = min(0.0, float(pixels.min())), max(1.0, float(pixels.max()))
    if (low, high) != (0.0, 1.0):
        low, high = float(pixels.min()), float(pixels.max())
    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    share = (shown - low) / ((high - low) or 1.0)
    decoded = decode_array(np.rint(np.moveaxis(share, 0, -1) * 255).astype(np.uint8))
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    metadata = ImageMetadata(0, digest, decoded.image.width, decoded.image.height, "array", 1)
    return Decoded(decoded.image, metadata)


def _to_bytes(array: np.ndarray) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also where one is NaN
        raise SourceError(
            f"an array of floats from {low:.4g} to {high:.4g}: floats are pixels in 0 to 1. Divide by 255 where they "
            "are 0 to 255. Where they are normalised already, say mean=0, std=1: an array of the size of the model's "
            "input is then its input as it stands."
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _decoded(image: Image.Image, kind: str) -> Decoded:
    rgb, notes = to_rgb(image)
    digest = hashlib.sha256(rgb.tobytes()).hexdigest()
    return Decoded(rgb, ImageMetadata(0, digest, rgb.width, rgb.height, kind, 1, notes))
