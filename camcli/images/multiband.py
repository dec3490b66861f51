"""TIFF files that Pillow cannot read in full: any number of bands, of any type, read by tifffile (extra ``tiff``)."""

import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from camcli.errors import ImageError
from camcli.images.arrays import as_image, check_shape
from camcli.images.bands import ASSUMED, Bands
from camcli.images.damage import is_cut_short
from camcli.images.decoded import Decoded, DecodeSettings, ImageMetadata
from camcli.images.rgb import picture_and_bands
from camcli.images.tiff import CMYK, GREY, RGB, UNSIGNED, WHITE_IS_ZERO, Page, count_pages, first_page

if TYPE_CHECKING:
    import tifffile

_INSTALL = "pip install tifffile imagecodecs (the extra tiff; in a clone: pip install '.[tiff]')"


def is_multiband(data: bytes, channels: int) -> bool:
    """Whether Pillow passes over bands of a TIFF file's first page, mistakes its values, or its pages are the bands."""
    page = first_page(data)
    return page is not None and (
        page.has_other_bands or page.is_misread_by_pillow or _pages_are_bands(page, data, channels)
    )


def is_rarely_compressed(data: bytes) -> bool:
    """Whether a TIFF file that Pillow cannot decode may be valid."""
    page = first_page(data)
    return page is not None and page.has_rare_compression


def _pages_are_bands(page: Page, data: bytes, channels: int) -> bool:
    """For a model that takes no picture: as many pages of one band each as it has channels."""
    return channels not in (1, 3) and page.samples == 1 and count_pages(data) == channels


def decode_tiff(data: bytes, settings: DecodeSettings) -> Decoded:
    """All bands of the first page; or of all pages, where each has one and the model takes as many.

    Raises:
        ImageError: ``unsupported`` (also where tifffile is not installed), ``truncated``, ``corrupt``, ``too-large``
            or ``bands``.
    """
    page = first_page(data)
    try:
        import tifffile
    except ImportError as error:
        of_bands = "" if page is None else f" of {page.samples} band{'s' * (page.samples != 1)}"
        raise ImageError("unsupported", f"a TIFF file{of_bands} that needs the package tifffile: {_INSTALL}") from error
    if page is not None:
        _check_colours(page)
    notes: tuple[str, ...] = ()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        values = _read(file, 0, data, settings)
        pages = count_pages(data)
        if page is not None and _pages_are_bands(page, data, settings.channels):
            check_shape((*values.shape[:2], pages), values.dtype, settings)
            values = np.dstack([values, *(_read_alike(file, i, data, settings, values) for i in range(1, pages))])
            notes = (f"{ASSUMED}the {pages} pages of a TIFF file are its bands",)
    height, width = values.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    metadata = ImageMetadata(len(data), digest, width, height, "TIFF", pages, notes)
    picture = _as_pillow(values, page, settings.channels)
    if picture is None:
        return as_image(Bands(values), metadata, settings)
    image, bands, converted = picture_and_bands(picture, settings.channels, keeps_all=settings.keeps_bands)
    return Decoded(image, replace(metadata, notes=converted), bands)


def _check_colours(page: Page) -> None:
    """Check that values of this kind can be converted.

    Raises:
        ImageError: ``unsupported``.
    """
    is_unsigned = page.kind == UNSIGNED
    if page.photometric in (None, GREY, RGB) or (page.photometric == WHITE_IS_ZERO and is_unsigned):
        return
    if page.photometric == CMYK and is_unsigned and page.samples == 4 and page.bits in (8, 16):
        return
    raise ImageError(
        "unsupported",
        f"a TIFF file whose colours are of kind {page.photometric} (PhotometricInterpretation), which cannot be "
        "converted for this type of values: save it as grey (1) or RGB (2)",
    )


def _as_pillow(values: np.ndarray, page: Page | None, channels: int) -> Image.Image | None:
    """The picture that Pillow would have loaded, if it could: grey, CMYK, RGB of 16 bits, grey or RGB with alpha.

    As with Pillow, pictures of colours have 8 bits, the high ones of 16; a model of two channels gets grey and alpha in
    full depth.
    """
    if values.shape[2] == 1 and values.dtype.kind == "f":
        return Image.fromarray(values[:, :, 0].astype(np.float32))
    if values.shape[2] == 1 and values.dtype == np.uint16:
        return Image.fromarray(values[:, :, 0])
    if page is None or values.dtype not in (np.uint8, np.uint16):
        return None
    if values.dtype == np.uint16 and values.shape[2] == channels == 2 and not page.is_premultiplied:
        return None
    modes = {2: "La" if page.is_premultiplied else "LA", 4: "RGBa" if page.is_premultiplied else "RGBA"}
    mode = None
    if page.photometric == CMYK:
        mode = "CMYK"
    elif page.has_alpha:
        mode = modes.get(values.shape[2])
    elif page.photometric == RGB and values.shape[2] == 3 and values.dtype == np.uint16:
        mode = "RGB"
    if mode is None:
        return None
    high = values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), np.ascontiguousarray(high).tobytes())


def _read_alike(
    file: "tifffile.TiffFile", number: int, data: bytes, settings: DecodeSettings, first: np.ndarray
) -> np.ndarray:
    """A page that is a band beside the first page.

    Raises:
        ImageError: ``bands``: it has another size or type.
    """
    values = _read(file, number, data, settings)
    if values.shape != first.shape or values.dtype != first.dtype:
        one, other = (f"{each.shape[1]}×{each.shape[0]} {each.dtype.name}" for each in (first, values))
        raise ImageError(
            "bands", f"its pages cannot be the bands of one image: the first is {one}, page {number + 1} is {other}"
        )
    return values


def _read(file: "tifffile.TiffFile", number: int, data: bytes, settings: DecodeSettings) -> np.ndarray:
    """One page upright, (height, width, bands)."""
    page: Any = file.pages[number]
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.dtype is None or page.imagedepth != 1:
        raise ImageError("unsupported", f"a TIFF file with {page.bitspersample} bits a value cannot be read")
    check_shape(shape, np.dtype(page.dtype), settings)
    if page.is_tiled:
        check_shape((page.tilelength, page.tilewidth, page.samplesperpixel), np.dtype(page.dtype), settings)
    try:
        values = page.asarray(maxworkers=1)
    except Exception as error:  # decoders raise nearly anything
        if "imagecodecs" in str(error) or isinstance(error, ImportError):
            raise ImageError(
                "unsupported", f"its compression ({page.compression.name}) needs the package imagecodecs: {_INSTALL}"
            ) from error
        if is_cut_short(data) or "failed to read" in str(error):  # the latter: a later page
            raise ImageError("truncated", f"the file ends too early, after {len(data)} bytes") from error
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ImageError("corrupt", f"the file is damaged ({text})") from error
    if values.ndim == 3 and values.shape != shape:  # one plane a band
        values = values.transpose(1, 2, 0)
    orientation = page.tags.get("Orientation")
    upright = Bands(values.reshape(shape)).turned(1 if orientation is None else int(orientation.value)).values
    return _full_range(upright, page.bitspersample, is_inverted=int(page.photometric) == WHITE_IS_ZERO)


def _full_range(values: np.ndarray, bits: Any, *, is_inverted: bool) -> np.ndarray:
    """Unsigned values of 9 to 15 bits with those of 16, so that white is white; and zero as black."""
    if values.dtype == np.uint16 and bits in range(9, 16):
        top = 2**bits - 1
        values = ((values.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    return np.iinfo(values.dtype).max - values if is_inverted and values.dtype.kind == "u" else values
