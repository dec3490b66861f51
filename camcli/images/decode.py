"""From the bytes of one file to an upright image, or to the reason why not.

Pillow decodes pictures; how its modes become RGB is written in :mod:`camcli.images.rgb`. TIFF files of other bands,
NumPy arrays and DICOM files have readers of their own. Of an animation or a file with pages, the first is taken.
Nothing here changes Pillow's global settings but :func:`pillow_limits`, around a whole run.
"""

import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, ImageFile, UnidentifiedImageError

from camcli.errors import CamError, ImageError
from camcli.images.arrays import NPY, decode_npy, decode_npz, is_npz
from camcli.images.damage import has_known_start, is_cut_short, what_it_is
from camcli.images.decoded import Decoded, DecodeSettings, ImageMetadata
from camcli.images.device_decode import load_on_device
from camcli.images.dicom import decode_dicom, has_preamble, is_bare_dicom
from camcli.images.multiband import decode_tiff, is_multiband, is_rarely_compressed
from camcli.images.rgb import picture_and_bands
from camcli.images.tiff import TIFFS, count_pages, first_page

# All that Pillow decodes by itself: what draws, runs programs (EPS, WMF) or needs handlers of its own is missing. The
# formats of the last line have no signature, and would accept files of other formats.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "ICNS", "CUR", "PSD"),
    *("PCX", "DCX", "SGI", "DDS", "QOI", "XBM", "XPM", "SUN", "MSP", "BLP", "FITS", "FLI", "FTEX", "GBR", "MCIDAS"),
    *("PIXAR", "XVTHUMB"),
    *("IM", "IMT", "PCD", "SPIDER", "TGA"),
)
_ROW, _ROWS = 8, 1 << 16
"""Pixels that what Pillow keeps beside those of a row weighs as much as, and how many rows are always allowed."""
_LIBRARIES = ("PIL", "tifffile", "pydicom")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def pillow_limits(*, max_pixels: int | None = None) -> Iterator[None]:
    """Around a run: our own limit in place of Pillow's global one, none of its warnings, and both as before afterwards.

    One kind of message is let through: libtiff, which Pillow contains, writes a line to the standard error stream for
    damage in a TIFF file (``ZIPDecode: Decoding error at scanline 0, incorrect data check.``). It can only be switched
    off inside the library, for all threads at once. Our own message of the file follows in any case.

    Args:
        max_pixels: as in :class:`DecodeSettings`, which :func:`decode` checks by itself; set here, it also applies for
            images inside images (icons), which only Pillow sees.
    """
    limits = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    loggers, handler = (
        [logging.getLogger(name) for name in _LIBRARIES],
        logging.NullHandler(),
    )  # without, logging prints
    with warnings.catch_warnings():
        # Those of pydicom quote the file's header, which may name the patient.
        warnings.filterwarnings("ignore", module=r"(PIL|tifffile|pydicom|torchvision\.io|camcli\.images)\b")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Pillow warns above its limit and refuses above twice as much.
        Image.MAX_IMAGE_PIXELS = None if max_pixels is None else max(1, -(-max_pixels // 2))
        # Imported packages set it. `decode` repairs a truncated image by itself, because this switch would also let
        # damaged images of other threads pass without an error.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits


def decode(data: bytes, settings: DecodeSettings | None = None) -> Decoded:
    """Decode the content of one file.

    Raises:
        ImageError: ``empty``, ``not-an-image``, ``too-large``, ``truncated``, ``corrupt``, ``unsupported``, ``bands``
            or ``out-of-memory``; never anything else, whatever the decoder raises.
        CamError: the device that decodes is lost.
    """
    if not data:
        raise ImageError("empty", "the file is empty (0 bytes)")
    try:
        return _decode(data, settings or DecodeSettings())
    except CamError:
        raise
    except MemoryError as error:
        raise ImageError("out-of-memory", "decoding this image does not fit into memory") from error
    except Image.DecompressionBombError as error:
        allowed = (settings or DecodeSettings()).max_pixels
        raise ImageError("too-large", f"it has more than the {allowed:,} pixels that --max-pixels allows") from error
    except Exception as error:  # the one catch-all: decoders raise nearly anything, and only this image has failed
        raise _reason(data, error) from error


def _decode(data: bytes, settings: DecodeSettings) -> Decoded:
    reader = _own_reader(data, settings)
    if reader is not None:
        return reader(data, settings)
    try:
        opened = _open(data, settings.max_pixels)
    except UnidentifiedImageError:
        if data.startswith(TIFFS) and not is_cut_short(data):  # a kind of pixels that Pillow does not have
            return _decode_other_tiff(data, settings)
        if is_bare_dicom(data):
            return decode_dicom(data, settings)
        raise
    size, kind = opened.size, opened.format or "unknown"
    reduced = settings.fast_decode and settings.fast_size is not None and _reduce(opened, settings.fast_size)
    notes = () if settings.device is None else load_on_device(opened, data, settings.device)
    try:
        opened.load()
    except OSError as error:
        if opened.format == "TIFF" and is_rarely_compressed(data) and not is_cut_short(data):
            return _decode_other_tiff(data, settings)
        reason = _reason(data, error)
        if not (settings.allow_truncated and reason.kind == "truncated"):
            raise
        opened = _salvage(opened, data, settings, reason)
        notes += ("truncated: only the part of the image that is there was decoded",)
    orientation, unread = _orientation(opened)
    image, bands, converted = picture_and_bands(opened, settings.channels, keeps_all=settings.keeps_bands)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
        bands = None if bands is None else bands.turned(orientation)
    width, height = image.size
    if reduced:
        width, height = size[::-1] if orientation >= 5 else size
        notes += (f"decoded at {image.width}×{image.height}",)
    frames, uncounted = _frames(data, kind, settings.max_pixels)
    notes = (*notes, *unread, *converted, *uncounted)
    digest = hashlib.sha256(data).hexdigest()
    return Decoded(image, ImageMetadata(len(data), digest, width, height, kind, frames, notes), bands)


def _own_reader(data: bytes, settings: DecodeSettings) -> Callable[[bytes, DecodeSettings], Decoded] | None:
    """What decodes a file that is not for Pillow."""
    if has_preamble(data):  # before it, a DICOM file may have the start of a TIFF file
        return decode_dicom
    if data.startswith(TIFFS):
        return decode_tiff if is_multiband(data, settings.channels) else None
    if data.startswith(NPY):
        return decode_npy
    return decode_npz if is_npz(data) else None


def from_pillow(image: Image.Image, settings: DecodeSettings) -> Decoded:
    """An image that Pillow has loaded, by the rules for files; upright as it stands.

    Raises:
        ImageError: ``unsupported``.
    """
    rgb, bands, notes = picture_and_bands(image, settings.channels, keeps_all=settings.keeps_bands)
    content = rgb.tobytes() if bands is None else bands.values.tobytes()
    metadata = ImageMetadata(0, hashlib.sha256(content).hexdigest(), rgb.width, rgb.height, "array", 1, notes)
    return Decoded(rgb, metadata, bands)


def _decode_other_tiff(data: bytes, settings: DecodeSettings) -> Decoded:
    """A TIFF file of pixels that Pillow does not have, unless it is damaged."""
    if first_page(data) is None:
        raise UnidentifiedImageError
    try:
        return decode_tiff(data, settings)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # tifffile recognises no image in it either
        raise UnidentifiedImageError from error


@cache
def image_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    opened = Image.open(io.BytesIO(data), formats=image_formats())
    width, height = opened.size
    pixels, allowed = width * height, f"--max-pixels allows {max_pixels:,}; raise it if the file can be trusted"
    if pixels > max_pixels:
        raise ImageError("too-large", f"{width}×{height} is {pixels:,} pixels, and {allowed}")
    if height > max(max_pixels // _ROW, _ROWS):
        memory = f"take the memory of {_ROW * height:,} pixels"
        raise ImageError("too-large", f"{height:,} rows, if only {width} wide, {memory}, and {allowed}")
    return opened


def _reduce(opened: ImageFile.ImageFile, fast_size: tuple[int, int]) -> bool:
    """Ask a JPEG decoder for fewer pixels; whether it will give fewer."""
    if not hasattr(opened, "draft") or opened.format not in ("JPEG", "MPO"):
        return False
    before = opened.size
    width, height = fast_size[::-1] if _orientation(opened)[0] >= 5 else fast_size
    # Twice as large as needed, so that the model's own filter still decides the pixels.
    opened.draft(None, (2 * width, 2 * height))
    return opened.size != before


def _salvage(
    opened: ImageFile.ImageFile, data: bytes, settings: DecodeSettings, reason: ImageError
) -> ImageFile.ImageFile:
    """The truncated image with what could be decoded of it; ``reason`` where that is nothing."""
    if opened.format in ("JPEG", "MPO"):  # with an end marker, the decoder returns what it has, progressive or not
        draft = opened.size
        opened = _open(data + b"\xff\xd9", settings.max_pixels)
        opened.draft(None, draft)
    else:
        opened.tile = []  # the image is what the decoder wrote before it stopped
    try:
        opened.load()
    except OSError as error:
        raise reason from error
    extremes = opened.getextrema()
    bands = extremes if isinstance(extremes[0], tuple) else (extremes,)
    if all(low == high for low, high in bands):
        raise ImageError("truncated", "the file ends before the first of its pixels")
    return opened


def _orientation(opened: Image.Image) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation 1–8, and a note where the EXIF data cannot be read: the pixels still can."""
    try:
        value = opened.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata raise nearly anything
        return 1, ("its EXIF data are damaged: taken as upright",)
    # Writers that store it as a fraction mean the same whole number.
    return next((number for number in _UPRIGHT if number == value), 1), ()


def _frames(data: bytes, kind: str, max_pixels: int) -> tuple[int, tuple[str, ...]]:
    # On a second handle, because counting moves through the file. Formats with one frame are not opened again.
    if kind in ("JPEG", "BMP", "PPM", "JPEG2000"):
        return 1, ()
    try:
        frames = count_pages(data) if kind == "TIFF" else getattr(_open(data, max_pixels), "n_frames", 1)
        # Pillow counts the layers of a PSD, and a flat one has none; other formats may give any number.
        return min(max(1, int(frames)), len(data)), ()
    except Exception:  # later frames may be damaged in any way; only the first is used
        return 1, ("its frames could not be counted",)


def _reason(data: bytes, error: Exception) -> ImageError:
    """What is wrong with a file that a decoder failed on."""
    is_unidentified = isinstance(error, UnidentifiedImageError)
    if is_unidentified and not has_known_start(data):
        return ImageError("not-an-image", f"this is {what_it_is(data)}")
    text = "its header cannot be read" if is_unidentified else " ".join(f"{type(error).__name__}: {error}".split())
    if is_cut_short(data) or "truncated" in text.lower():
        return ImageError("truncated", f"the file ends too early, after {len(data)} bytes; --allow-truncated may help")
    if is_unidentified and data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        return ImageError("unsupported", f"there is no decoder for {brand!r} (HEIF?); convert it to JPEG or PNG")
    if isinstance(error, NotImplementedError):
        return ImageError("unsupported", f"this kind of image cannot be decoded ({text})")
    return ImageError("corrupt", f"the file is damaged ({text})")
