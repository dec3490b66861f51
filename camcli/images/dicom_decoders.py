"""JPEG lossless, JPEG-LS and JPEG of 12 bits in DICOM files, decoded by imagecodecs.

pydicom has no decoder of its own for these. The packages that it names are under the GPL (pylibjpeg-libjpeg), or end
the process at a damaged file (GDCM). :func:`register` adds this module to pydicom's decoders, after those that are
installed.
"""

from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np

_LABEL = "imagecodecs"
_JPEG = (
    "1.2.840.10008.1.2.4.51",  # extended, 12 bits
    "1.2.840.10008.1.2.4.57",  # lossless
    "1.2.840.10008.1.2.4.70",  # lossless, first-order prediction
)
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS), ("imagecodecs",))
"""For pydicom: what each transfer syntax needs."""


_lock, _registered = Lock(), set[str]()


def register() -> None:
    """Add the decoders to pydicom's, once."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    with _lock:  # pydicom's own function is not thread-safe
        for uid in DECODER_DEPENDENCIES.keys() - _registered:
            get_decoder(UID(uid)).add_plugin(_LABEL, (__name__, "decode_frame"))
            _registered.add(uid)


def is_available(uid: str) -> bool:
    """For pydicom: whether this module can decode a transfer syntax."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: Any) -> bytes:
    """For pydicom: the values of one frame, the bands of each pixel together."""
    import imagecodecs

    syntax = str(runner.transfer_syntax)
    if syntax in _JPEG_LS:
        values = imagecodecs.jpegls_decode(source)
    else:  # without a change of colours, which the header of the DICOM file describes
        colours = {1: "grayscale", 3: "rgb"}.get(runner.samples_per_pixel)
        values = imagecodecs.jpeg8_decode(source, colorspace=colours, outcolorspace=colours)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little_endian).tobytes()
