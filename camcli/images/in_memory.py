"""Images that are in memory already: arrays, tensors as arrays, and Pillow images."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from camcli.errors import ImageError, SourceError
from camcli.images.decode import from_pillow
from camcli.images.decoded import Decoded, DecodeSettings, ImageMetadata
from camcli.images.preprocess import Preprocessing

_PICTURE_CHANNELS = (1, 3, 4)
_EIGHT_BITS = 1e-3  # of a step of 1/255: floats so near to whole steps are 8-bit values
ACCEPTED_ARRAYS = (
    "uint8, uint16, int16, or floats in 0 to 1; (H, W), (H, W, C) or (C, H, W), or a batch (N, …) of the latter two"
)


def split_batch(array: np.ndarray, channels: int, *, channels_first: bool) -> Sequence[np.ndarray]:
    """The images (H, W) or (H, W, C) of an array that holds one image or a batch.

    Which axis holds the channels is decided by its length: 1, 3, 4, or what the model takes.

    Args:
        array: (H, W), (H, W, C), (C, H, W), (N, H, W, C) or (N, C, H, W).
        channels: that the model takes.
        channels_first: which of both it is where either could be, or none.

    Raises:
        TypeError: another type of numbers, or a shape that is none of these.
    """
    if array.dtype.kind not in "biuf" or (array.dtype.kind in "iu" and array.dtype.itemsize > 2):
        raise TypeError(f"an array of {array.dtype}, shape {array.shape}: give {ACCEPTED_ARRAYS}.")
    if array.ndim == 2:
        return [array]
    if array.ndim not in (3, 4):
        raise TypeError(f"an array of shape {array.shape}: give {ACCEPTED_ARRAYS}.")
    ends = (-3, -1) if channels_first else (-1, -3)
    axis = next((axis for axis in ends if array.shape[axis] in (*_PICTURE_CHANNELS, channels)), ends[0])
    images = np.moveaxis(array, axis, -1)
    return [images] if array.ndim == 3 else list(images)


def as_pixels(array: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The array with its values as files have them: floats that are 8-bit pixels over 255 become those.

    Args:
        array: (H, W) or (H, W, C).
        preprocessing: of the model; where its mean and deviation are of values in 0 to 1, floats have to be.

    Raises:
        SourceError: no pixels, or floats of a picture outside 0 to 1.
    """
    if not array.size:
        raise SourceError(f"an array of shape {array.shape} has no pixels.")
    is_picture = array.ndim == 2 or array.shape[2] in (1, 3)
    if array.dtype.kind != "f" or not is_picture or preprocessing.channels not in (1, 3):
        return array
    low, high = float(array.min()), float(array.max())
    if not np.isfinite((low, high)).all():
        raise SourceError("an array with values that are not finite (NaN or infinite), of which the model makes NaN.")
    if low >= 0 and high <= 1:
        steps = array.astype(np.float64) * 255
        whole = np.rint(steps)
        return whole.astype(np.uint8) if np.abs(steps - whole).max() < _EIGHT_BITS else array
    if preprocessing.is_of_shares:
        raise SourceError(
            f"an array of floats from {low:.4g} to {high:.4g}: floats are pixels in 0 to 1. Divide by 255 where they "
            "are 0 to 255. Where they are normalised already, say mean=0, std=1: an array of the size of the model's "
            "input is then its input as it stands."
        )
    return array


def decode_pillow(image: Image.Image, settings: DecodeSettings) -> Decoded:
    """A Pillow image, upright as a file of it would be.

    Raises:
        SourceError: no pixels.
        ImageError: its pixels cannot be loaded or converted.
    """
    if not all(image.size):
        raise SourceError("a Pillow image without pixels.")
    try:
        upright = ImageOps.exif_transpose(image)  # a copy: the user's own image may change later
    except Exception as error:  # of a file that is read only now, decoders raise nearly anything
        raise ImageError("corrupt", f"the Pillow image cannot be loaded ({type(error).__name__}: {error})") from error
    return from_pillow(upright, settings)


def show_input(pixels: np.ndarray) -> Decoded:
    """A picture of a model's input (H, W, C) float32, stretched to its own range where that is not 0 to 1."""
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    shown = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    share = np.nan_to_num((shown - low) / ((high - low) or 1.0))
    picture = Image.fromarray(np.ascontiguousarray(np.rint(share * 255).astype(np.uint8)))
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Decoded(picture, ImageMetadata(0, digest, picture.width, picture.height, "array", 1))
