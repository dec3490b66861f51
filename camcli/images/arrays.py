"""NumPy arrays as images: ``.npy`` and ``.npz`` files, and arrays of Python.

(height, width, bands) or (height, width). Nothing is unpickled, and the header of a file is checked before its values
are allocated.
"""

import ast
import hashlib
import io
import math
import struct
import zipfile
import zlib
from typing import IO

import numpy as np
from PIL import Image

from camcli.errors import ImageError
from camcli.images.band_picture import draw
from camcli.images.bands import Bands
from camcli.images.decoded import Decoded, DecodeSettings, ImageMetadata

NPY = b"\x93NUMPY"
ZIP = b"PK\x03\x04"
KEY = "image"
"""Name of the array that is taken of a ``.npz`` file with several."""
_MOST_HEADER = 1 << 16
_VALUES_A_PIXEL = 4
"""For each of ``--max-pixels``: an image may have more bands where it has fewer pixels."""


def is_npz(data: bytes) -> bool:
    """Whether a file is an archive of arrays, as ``numpy.savez`` writes it."""
    if not data.startswith(ZIP):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return _begins_as_npz(data)
    return bool(names) and all(name.endswith(".npy") for name in names)


def _begins_as_npz(data: bytes) -> bool:
    """Whether the first file of an archive that cannot be read is an array; its table of contents is at its end."""
    length = int.from_bytes(data[26:28], "little")
    return data[30 : 30 + length].endswith(b".npy")


def decode_npy(data: bytes, settings: DecodeSettings) -> Decoded:
    """The image in the bytes of a ``.npy`` file.

    Raises:
        ImageError: ``truncated``, ``corrupt``, ``unsupported``, ``too-large`` or ``bands``.
    """
    array = _read_npy(io.BytesIO(data), settings)
    return from_array(array, settings, kind="NPY", data=data)


def decode_npz(data: bytes, settings: DecodeSettings) -> Decoded:
    """The image in the bytes of a ``.npz`` file: its only array, or the one that is called ``image``.

    Raises:
        ImageError: as :func:`decode_npy`.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        message = f"the archive ends too early, after {len(data)} bytes: its table of contents is missing"
        raise ImageError("truncated", message) from error
    with archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if len(names) > 1 and KEY not in names:
            listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise ImageError(
                "unsupported", f"it holds {len(names)} arrays ({listed}), and none is called {KEY!r}: save one alone"
            )
        try:
            with archive.open(f"{KEY if len(names) > 1 else names[0]}.npy") as member:
                array = _read_npy(member, settings)
        except RuntimeError as error:
            raise ImageError(
                "unsupported", "its archive is encrypted or compressed in a way that is not read"
            ) from error
        except (zipfile.BadZipFile, EOFError, ValueError, zlib.error) as error:
            raise ImageError("corrupt", "the file is damaged (its archive cannot be unpacked)") from error
    return from_array(array, settings, kind="NPZ", data=data)


def from_array(
    array: np.ndarray, settings: DecodeSettings, *, kind: str = "array", data: bytes | None = None
) -> Decoded:
    """An array (height, width, bands) or (height, width) as an image.

    Args:
        array: of any type of real numbers; 8-bit values of one or three bands are a picture.
        settings: how it is drawn, and whether its bands are kept.
        kind: for the index.
        data: the file that it comes from.

    Raises:
        ImageError: ``unsupported``: another shape or type; ``too-large``; ``bands``.
    """
    check_shape(array.shape, array.dtype, settings)
    values = array[:, :, None] if array.ndim == 2 else array
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    height, width = values.shape[:2]
    content = np.ascontiguousarray(values).tobytes() if data is None else data
    digest = hashlib.sha256(content).hexdigest()
    metadata = ImageMetadata(0 if data is None else len(data), digest, width, height, kind, 1)
    return as_image(Bands(values), metadata, settings)


def as_image(bands: Bands, metadata: ImageMetadata, settings: DecodeSettings) -> Decoded:
    """Bands with their picture; 8-bit values of one or three bands are a picture alone.

    Raises:
        ImageError: ``bands``: ``--show-bands`` asks for one that the image does not have.
    """
    if bands.values.dtype == np.uint8 and bands.count in (1, 3):
        whole = np.ascontiguousarray(bands.values[:, :, 0] if bands.count == 1 else bands.values)
        keeps = settings.keeps_bands or settings.channels not in (1, 3)
        return Decoded(Image.fromarray(whole).convert("RGB"), metadata, bands if keeps else None)
    return Decoded(draw(bands, settings.show_bands), metadata, bands)


def check_shape(shape: tuple[int, ...], dtype: np.dtype, settings: DecodeSettings) -> None:
    """Check that an array is an image, and no larger than allowed, before it is read.

    Raises:
        ImageError: ``unsupported`` or ``too-large``.
    """
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise ImageError(
            "unsupported", f"an array of type {dtype.name}: an image has real numbers, such as uint8, float32"
        )
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ImageError(
            "unsupported", f"an array of shape {shape}: an image has (height, width) or (height, width, bands)"
        )
    pixels, allowed = shape[0] * shape[1], settings.max_pixels
    remedy = f"--max-pixels allows {allowed:,}; raise it if the file can be trusted"
    if pixels > allowed:
        raise ImageError("too-large", f"{shape[1]}×{shape[0]} is {pixels:,} pixels, and {remedy}")
    values = math.prod(shape)
    if values > _VALUES_A_PIXEL * allowed:
        more = f"{values:,} values, more than {_VALUES_A_PIXEL} for each pixel that --max-pixels allows"
        raise ImageError("too-large", f"{shape[1]}×{shape[0]} with {shape[2]} bands has {more} ({allowed:,})")


def _read_npy(stream: IO[bytes], settings: DecodeSettings) -> np.ndarray:
    """The array of a file in NumPy's format, whose header is a dict that is written as Python has it."""
    start = _exactly(stream, 8)
    if not start.startswith(NPY):
        raise ImageError("corrupt", "the file is damaged (its array has no header)")
    size, form = (2, "<H") if start[6] == 1 else (4, "<I")
    (length,) = struct.unpack(form, _exactly(stream, size))
    if start[6] not in (1, 2, 3) or length > _MOST_HEADER:
        raise ImageError("corrupt", f"the file is damaged (version {start[6]}, a header of {length:,} bytes)")
    header = _exactly(stream, length)
    try:
        described = ast.literal_eval(header.decode("utf-8" if start[6] == 3 else "latin-1"))
        dtype = np.lib.format.descr_to_dtype(described["descr"])
        shape, is_column_wise = described["shape"], bool(described["fortran_order"])
        if not all(type(side) is int for side in (*shape,)):
            raise TypeError("its shape")
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError, AttributeError) as error:
        raise ImageError("corrupt", "the file is damaged (its header cannot be read)") from error
    check_shape(shape, dtype, settings)
    values = np.frombuffer(_exactly(stream, math.prod(shape) * dtype.itemsize), dtype)
    return values.reshape(shape[::-1]).T if is_column_wise else values.reshape(shape)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise ImageError(
            "truncated", f"the file ends too early: {count:,} bytes were expected, {len(data):,} are there"
        )
    return data
