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
from camcli.images.rgb import own_bands, to_rgb
from camcli.images.tiff import GREY, RGB, Page, count_pages, first_page

if TYPE_CHECKING:
    import tifffile

_INSTALL = "pip install 'cambatch[tiff]'"


def is_multiband(data: bytes, channels: int) -> bool:
    """Whether the first page of a TIFF file has bands that Pillow passes over, or its pages are the bands."""
    page = first_page(data)
    return page is not None and (page.has_other_bands or _pages_are_bands(page, data, channels))


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
    if page is not None and page.photometric not in (None, GREY, RGB):
        raise ImageError(
            "unsupported",
            f"a TIFF file whose colours are of kind {page.photometric} (PhotometricInterpretation), which cannot be "
            "converted for this type of values: save it as grey (1) or RGB (2)",
        )
    notes: tuple[str, ...] = ()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        values = _read(file, 0, data, settings)
        pages = count_pages(data)
        if page is not None and _pages_are_bands(page, data, settings.channels):
            check_shape((*values.shape[:2], pages), values.dtype, settings)
            values = np.dstack([values, *(_read(file, i, data, settings) for i in range(1, pages))])
            notes = (f"{ASSUMED}the {pages} pages of a TIFF file are its bands",)
    height, width = values.shape[:2]
    digest = hashlib.sha256(data).hexdigest()
    metadata = ImageMetadata(len(data), digest, width, height, "TIFF", pages, notes)
    picture = _as_pillow(values, page)
    if picture is None:
        return as_image(Bands(values), metadata, settings)
    image, converted = to_rgb(picture)
    bands = own_bands(picture, settings.channels, keeps_all=settings.keeps_bands)
    return Decoded(image, replace(metadata, notes=converted), bands)


def _as_pillow(values: np.ndarray, page: Page | None) -> Image.Image | None:
    """The picture that Pillow would have loaded, if it had its type or compression: float grey, 8 bits with alpha."""
    if values.shape[2] == 1 and values.dtype.kind == "f":
        return Image.fromarray(values[:, :, 0].astype(np.float32))
    if values.dtype == np.uint8 and values.shape[2] in (2, 4) and page is not None and page.has_alpha:
        return Image.fromarray(values)
    return None


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
        if is_cut_short(data):
            raise ImageError("truncated", f"the file ends too early, after {len(data)} bytes") from error
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ImageError("corrupt", f"the file is damaged ({text})") from error
    if values.ndim == 3 and values.shape != shape:  # one plane a band
        values = values.transpose(1, 2, 0)
    orientation = page.tags.get("Orientation")
    return Bands(values.reshape(shape)).turned(1 if orientation is None else int(orientation.value)).values
