"""DICOM files, read by pydicom (extra ``dicom``): from stored values to what a viewer shows.

Grey goes through the modality LUT (or rescale slope and intercept), then through the window of ``--window``, the file's
VOI LUT or its window; MONOCHROME1 is inverted. Without a window, values of up to 8 bits stay as they are, and others
are stretched from the smallest to the largest. Palettes and YBR become RGB. Of several frames the first is taken.

The header of a file may name the patient: nothing of it but the image's size and number of frames leaves this module,
also not in messages.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from camcli.errors import ImageError
from camcli.images.arrays import check_shape
from camcli.images.band_picture import draw
from camcli.images.bands import ASSUMED, Bands, check_finite
from camcli.images.decoded import Decoded, DecodeSettings, ImageMetadata, Window
from camcli.images.dicom_decoders import is_available, register

_INSTALL = (
    "pip install pydicom pylibjpeg pylibjpeg-openjpeg imagecodecs (the extra dicom; in a clone: pip install '.[dicom]')"
)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FIRST_ELEMENTS = (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0013, 0x0014, 0x0016, 0x0018)
_CUT_SHORT = ("less than expected", "unexpected end", "truncated", "end of file", "fewer bytes")
_NO_DECODER = ("missing dependencies", "no available plugins", "unable to decompress")
_GREY = ("MONOCHROME1", "MONOCHROME2")


def has_preamble(data: bytes) -> bool:
    """Whether a file begins as the standard wants it."""
    return data[128:132] == b"DICM"


def is_bare_dicom(data: bytes) -> bool:
    """Whether a file that no other decoder knows begins with an element of a DICOM data set, without the preamble."""
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        group, element = (int.from_bytes(data[at : at + 2], order) for at in (0, 2))
        if group in (0x0002, 0x0008) and element in _FIRST_ELEMENTS and len(data) > 8:
            return True
    return False


def decode_dicom(data: bytes, settings: DecodeSettings) -> Decoded:
    """The first frame of a DICOM file.

    Raises:
        ImageError: ``unsupported`` (no image in it, a kind that is not handled, pydicom or a decoder is missing),
            ``truncated``, ``corrupt`` or ``too-large``.
    """
    try:
        import pydicom
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise ImageError("unsupported", f"a DICOM file, which needs the package pydicom: {_INSTALL}") from error
    with _no_header_in_messages("its header"):
        header = pydicom.dcmread(io.BytesIO(data), force=not has_preamble(data))
        if not has_preamble(data) and not any(name in header for name in (*_PIXELS, "SOPClassUID")):
            raise ImageError("not-an-image", "this is content that no decoder recognises")
        frames = _check(header, settings)
        if "TransferSyntaxUID" not in header.file_meta:  # what pydicom took it for
            implicit, little = header.original_encoding
            uid = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
            header.file_meta.TransferSyntaxUID = uid if little else pydicom.uid.ExplicitVRBigEndian
    register()
    with _no_header_in_messages("its pixels", header):
        stored = pixel_array(header, index=0)
        _lift_first_frame(header)
    with _no_header_in_messages("its values", header):
        bands, notes = _values(header, stored, settings)
    height, width = bands.values.shape[:2]
    metadata = ImageMetadata(len(data), hashlib.sha256(data).hexdigest(), width, height, "DICOM", frames, notes)
    keeps = settings.keeps_bands or (settings.channels != 3 and (bands.count == 1 or settings.channels != 1))
    return Decoded(draw(bands), metadata, bands if keeps else None)


@contextmanager
def _no_header_in_messages(what: str, header: Any = None) -> Iterator[None]:
    """Any exception becomes an error that quotes nothing of the file."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except BaseException as error:  # pydicom and its decoders raise nearly anything
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of decoders written in Rust
            raise
        text = str(error).lower()
        if isinstance(error, EOFError) or any(words in text for words in _CUT_SHORT):
            raise ImageError("truncated", f"the DICOM file ends too early: {what} cannot be read in full") from error
        needs = any(words in text for words in _NO_DECODER) or isinstance(error, NotImplementedError)
        if needs or ("does not support" in text and not is_available(_syntax(header))):
            raise ImageError("unsupported", f"{_compression(header)}, which needs a decoder: {_INSTALL}") from error
        if "all available plugins" in text:
            message = (
                f"{_compression(header)}, and no decoder can read them: damaged, or of a kind that they do not have"
            )
            raise ImageError("corrupt", message) from error
        raise ImageError(
            "corrupt", f"the DICOM file is damaged: {what} cannot be read ({type(error).__name__})"
        ) from error


def _compression(header: Any) -> str:
    """How the pixels are stored, as far as the standard has a name for it."""
    name = _standard_name(_syntax(header))
    return f"its pixels are stored as {name}" if name else "its pixels are compressed"


def _syntax(header: Any) -> str:
    return str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))


def _standard_name(uid: Any) -> str | None:
    """What the standard calls a UID; None for one that it does not have."""
    from pydicom.uid import UID

    name = UID(str(uid)).name
    return None if name == str(uid) else name


def _check(header: Any, settings: DecodeSettings) -> int:
    """Check that there is an image of an allowed size; the number of its frames."""
    if not any(name in header for name in _PIXELS):
        kind = _standard_name(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))
        if "Rows" in header or "Image Storage" in (kind or ""):  # the last element of an image is its pixels
            raise ImageError("truncated", "this DICOM file has no pixels: it is a header alone, or was cut short")
        raise ImageError("unsupported", f"this DICOM file holds no image{f' ({kind})' if kind else ''}")
    samples = int(header.get("SamplesPerPixel", 1) or 1)
    shape = (int(header.Rows), int(header.Columns), samples)
    check_shape(shape, np.dtype(np.float64 if "DoubleFloatPixelData" in header else np.uint16), settings)
    return max(1, int(header.get("NumberOfFrames", 1) or 1))


def _lift_first_frame(header: Any) -> None:
    """Enhanced images keep slope and window in groups of each frame: give those of the first to the whole."""
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in (header.get(name) or ())[:1]:
            for group in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for element in (groups.get(group) or ())[:1]:
                    header.update({each.tag: each for each in element})


def _values(header: Any, stored: np.ndarray, settings: DecodeSettings) -> tuple[Bands, tuple[str, ...]]:
    """The frame as a viewer shows it, and what was assumed for that."""
    from pydicom.pixels.processing import apply_color_lut

    kind = str(header.PhotometricInterpretation).strip().upper()
    if kind in _GREY:
        shares, notes = _grey(header, stored, settings.window)
        return Bands(shares[:, :, None].astype(np.float32), is_scaled=True), notes
    if kind == "PALETTE COLOR":
        stored, bits = apply_color_lut(stored, header)[:, :, :3], 8
        if stored.dtype != np.uint8:  # the high byte, as palettes of 8 bits are also stored
            stored = (stored >> 8).astype(np.uint8)
    elif kind.startswith(("RGB", "YBR")) and stored.ndim == 3 and stored.shape[2] == 3:
        bits = int(header.BitsStored)
    else:
        raise ImageError("unsupported", "a DICOM image whose colours are neither grey, a palette, RGB nor YBR")
    if stored.dtype != np.uint8 or bits != 8:
        stored = np.rint(stored.astype(np.float64) * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    return Bands(stored), ()


def _grey(header: Any, stored: np.ndarray, window: Window | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(height, width) float64: shares of white, and what was assumed."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    notes: tuple[str, ...] = ()
    values = apply_modality_lut(stored, header)
    function = str(header.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    centres, widths = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    tables = header.get("VOILUTSequence")
    if window is not None:
        shares = apply_window(values.astype(np.float64), window, "LINEAR")
    elif tables and tables[0].get("LUTDescriptor") and tables[0].get("LUTData"):
        shares = apply_voi(values, header).astype(np.float64) / (2 ** int(tables[0].LUTDescriptor[2]) - 1)
    elif centres is not None and widths is not None and _is_window(widths, function):
        shares = apply_window(values.astype(np.float64), (centres, widths), function)
    elif int(header.get("BitsStored", 64)) <= 8 and stored.dtype == np.uint8 and values.dtype == np.uint8:
        shares = values.astype(np.float64) / (2 ** int(header.BitsStored) - 1)
    else:
        shares, notes = _stretch(header, stored, values.astype(np.float64))
    check_finite(shares, "of its pixels")
    shares = shares.clip(0, 1)
    return (1 - shares if str(header.PhotometricInterpretation).strip().upper() == _GREY[0] else shares), notes


def _stretch(header: Any, stored: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """From the smallest value to the largest, without those that only fill the frame."""
    check_finite(values, "of its pixels")
    padding = header.get("PixelPaddingValue")
    inside = values if padding is None or not (stored != padding).any() else values[stored != padding]
    low, high = float(inside.min()), float(inside.max())
    note = f"{ASSUMED}DICOM images without a window are shown from their smallest to their largest value (--window)"
    return (values - low) / ((high - low) or 1.0), (note,)


def apply_window(values: np.ndarray, window: Window, function: str) -> np.ndarray:
    """Shares of white by a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: float64, after the modality LUT.
        window: centre and width.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.
    """
    centre, width = window
    if function == "SIGMOID":
        shares: np.ndarray = 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
        return shares
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def _is_window(width: float, function: str) -> bool:
    return function in ("LINEAR", "LINEAR_EXACT", "SIGMOID") and (width >= 1 if function == "LINEAR" else width > 0)


def _first(value: Any) -> float | None:
    """The first of one or more numbers; None where there is none."""
    if value is None or value == "":
        return None
    number = float(value if isinstance(value, int | float | str) else value[0])
    return number if np.isfinite(number) else None
