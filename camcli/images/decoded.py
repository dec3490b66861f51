"""What decoding a file takes and gives: settings, the upright picture, its bands, and what the index records of it."""

from dataclasses import dataclass

from PIL import Image

from camcli.images.bands import Bands

MAX_PIXELS = 89_478_485
"""Default of ``--max-pixels``: a quarter of a gigabyte in RGB."""

Window = tuple[float, float]
"""Centre and width of what is shown of a DICOM image, in its own units."""


@dataclass(frozen=True)
class DecodeSettings:
    """How files are decoded.

    Attributes:
        max_pixels: an image of more is refused before its pixels are allocated.
        allow_truncated: take what there is of a truncated image, with a note.
        fast_decode: decode large JPEGs at 1/2, 1/4 or 1/8 of their size, twice ``fast_size`` or more; pixels then
            differ a little from those of a full decode.
        fast_size: (width, height) of the input that the upright image will be resized to.
        device: the CUDA device that decodes ordinary JPEGs; pixels then differ a little, too.
        channels: of the model's input: one channel gets grey values in their full depth, two and four get alpha.
        keeps_bands: give the bands of every image, also where its RGB picture would do (``--bands``).
        show_bands: the bands that are drawn of an image with other bands than RGB, counted from 1; None: the first.
        window: of DICOM images, instead of the file's own.
    """

    max_pixels: int = MAX_PIXELS
    allow_truncated: bool = False
    fast_decode: bool = False
    fast_size: tuple[int, int] | None = None
    device: str | None = None
    channels: int = 3
    keeps_bands: bool = False
    show_bands: tuple[int, ...] | None = None
    window: Window | None = None


@dataclass(frozen=True)
class ImageMetadata:
    """What the index records of a decoded file.

    Attributes:
        bytes: length of the file.
        sha256: of the file's content, hexadecimal.
        width, height: of the upright original in pixels.
        format: Pillow's name of the format, e.g. ``JPEG``; ``NPY``, ``NPZ`` or ``DICOM``.
        frames: frames or pages in the file; the image is the first.
        notes: what was done that a reader should know.
    """

    bytes: int
    sha256: str
    width: int
    height: int
    format: str
    frames: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """One upright image.

    Attributes:
        image: the RGB picture, which is drawn on; smaller than its original where it was decoded fast.
        metadata: what the index records.
        bands: the values of its bands, of the same size, where the picture is not all that the model gets.
    """

    image: Image.Image
    metadata: ImageMetadata
    bands: Bands | None = None

    @property
    def source(self) -> Image.Image | Bands:
        """What preprocessing takes."""
        return self.image if self.bands is None else self.bands
