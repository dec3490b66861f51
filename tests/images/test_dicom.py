"""DICOM files: the values are pydicom's own, the full range reaches models of one channel, the header stays out."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from camcli.errors import ImageError
from camcli.images import DecodeSettings, decode, dicom_decoders, pillow_limits
from camcli.images.dicom import apply_window
from tests.images.decoding import failure

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
GREY = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_padded.dcm",
    "examples_overlay.dcm", "image_dfl.dcm", "liver_1frame.dcm", "rtdose.dcm", "JPEGLSNearLossless_08.dcm",
    "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "693_J2KI.dcm", "JPGExtended.dcm",
)  # fmt: skip
COLOUR = (
    "examples_rgb_color.dcm", "examples_ybr_color.dcm", "examples_jpeg2k.dcm", "SC_ybr_full_422_uncompressed.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd.dcm",
)  # fmt: skip
INSTALL = (
    "pip install pydicom pylibjpeg pylibjpeg-openjpeg imagecodecs (the extra dicom; in a clone: pip install '.[dicom]')"
)
SECRET = "Schmidt^Erika"
dicom_decoders.register()


def values(data: bytes, **settings: Any) -> np.ndarray:
    """(height, width) float64: what a model of one channel gets."""
    with pillow_limits():
        decoded = decode(data, DecodeSettings(channels=1, **settings))
    assert decoded.bands is not None
    assert decoded.bands.values.dtype == np.float32
    return decoded.bands.values[:, :, 0].astype(np.float64)


def made(stored: np.ndarray, **elements: Any) -> bytes:
    """A DICOM file of one grey image."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.PatientName = SECRET
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    header.Rows, header.Columns = stored.shape[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * stored.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in elements.items():
        setattr(header, name, value)
    header.PixelData = stored.tobytes()
    return saved(header)


def saved(header: Dataset) -> bytes:
    target = BytesIO()
    header.preamble = bytes(128)
    header.save_as(target, implicit_vr=False, little_endian=True)
    return target.getvalue()


STORED = np.random.default_rng(0).integers(-1000, 3000, (32, 40), np.int16)


@pytest.mark.parametrize("name", GREY)
def test_grey_is_what_pydicom_shows(name: str) -> None:
    data = (FILES / name).read_bytes()
    header = pydicom.dcmread(BytesIO(data))
    shown = apply_voi_lut(apply_modality_lut(pixel_array(header, index=0), header), header).astype(np.float64)
    found = values(data)
    assert found.shape == shown.shape
    # The same up to black and white: pydicom's range is that of the stored bits.
    slope, start = np.polyfit(shown.ravel(), found.ravel(), 1)
    assert slope > 0
    assert np.abs(found - (slope * shown + start)).max() < 1e-6
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("name", COLOUR)
def test_colours_are_those_of_pydicom(name: str) -> None:
    data = (FILES / name).read_bytes()
    header = pydicom.dcmread(BytesIO(data))
    assert np.array_equal(np.asarray(decode(data).image), pixel_array(header, index=0))


def test_a_palette_becomes_rgb() -> None:
    data = (FILES / "examples_palette.dcm").read_bytes()
    header = pydicom.dcmread(BytesIO(data))
    wanted = apply_color_lut(pixel_array(header), header)
    assert np.array_equal(np.asarray(decode(data).image), wanted >> 8)


def test_colours_of_16_bits() -> None:
    data = (FILES / "SC_rgb_rle_16bit.dcm").read_bytes()
    stored = pixel_array(pydicom.dcmread(BytesIO(data)))
    assert np.abs(np.asarray(decode(data).image) - stored / 65535 * 255).max() <= 0.5


def test_a_window_is_applied_after_the_modality_lut_in_full_depth() -> None:
    window = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": [300, 1], "WindowWidth": [1600, 9]}
    wanted = np.clip((STORED * 2.0 - 100 - 299.5) / 1599 + 0.5, 0, 1)
    found = values(made(STORED, **window))
    assert np.abs(found - wanted).max() < 1e-7
    by_hand = np.clip((STORED * 2.0 - 100 - 49.5) / 799 + 0.5, 0, 1)
    assert np.abs(values(made(STORED, **window), window=(50.0, 800.0)) - by_hand).max() < 1e-7


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_functions_of_a_window_are_those_of_pydicom(function: str) -> None:
    elements = {"WindowCenter": 700, "WindowWidth": 900, "VOILUTFunction": function}
    data = made(STORED, **elements)
    shown = apply_voi_lut(STORED, pydicom.dcmread(BytesIO(data)))
    assert np.abs(values(data) - (shown + 32768) / 65535).max() < 1e-6
    assert apply_window(np.array([-1e9, 1e9]), (0.0, 1.0), function).clip(0, 1).tolist() == pytest.approx([0, 1])


def test_enhanced_images_have_slope_and_window_in_the_groups_of_a_frame() -> None:
    slope, window, shared, frame = Dataset(), Dataset(), Dataset(), Dataset()
    slope.RescaleSlope, slope.RescaleIntercept = 2, -100
    window.WindowCenter, window.WindowWidth = 300, 1600
    shared.PixelValueTransformationSequence = Sequence([slope])
    frame.FrameVOILUTSequence = Sequence([window])
    groups = {
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence([frame, Dataset()]),
    }
    wanted = np.clip((STORED * 2.0 - 100 - 299.5) / 1599 + 0.5, 0, 1)
    assert np.abs(values(made(STORED, **groups)) - wanted).max() < 1e-7


def test_monochrome1_is_inverted() -> None:
    elements = {"WindowCenter": 700, "WindowWidth": 900}
    other = values(made(STORED, **elements, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(1 - other - values(made(STORED, **elements))).max() < 1e-6


def test_a_voi_lut_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], (65535 - 257 * np.arange(256)).astype(np.uint16).tobytes()
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = values(made(stored, VOILUTSequence=Sequence([table])))
    assert np.abs(found - (255 - stored.astype(np.float64)) / 255).max() < 1e-6


def test_without_a_window_eight_bits_are_as_they_are_and_others_stretched() -> None:
    stored = np.arange(40, 80, dtype=np.uint8).reshape(5, 8)
    assert np.array_equal(values(made(stored)), (stored.astype(np.float32) / np.float32(255)).astype(np.float64))
    deep = STORED.copy()
    deep[0] = -32000
    decoded = decode(made(deep, PixelPaddingValue=-32000))
    assert any("without a window" in note for note in decoded.metadata.notes)
    found = values(made(deep, PixelPaddingValue=-32000))
    rest = deep[1:].astype(np.float64)
    assert np.abs(found[1:] - (rest - rest.min()) / (rest.max() - rest.min())).max() < 1e-6
    assert (found[0] == 0).all()


def test_a_picture_shows_the_window_and_the_index_has_size_and_frames() -> None:
    data = (FILES / "CT_small.dcm").read_bytes()
    decoded = decode(data, DecodeSettings(window=(40.0, 400.0)))
    assert decoded.bands is None
    shares = values(data, window=(40.0, 400.0))
    assert np.abs(np.asarray(decoded.image)[:, :, 0] - shares * 255).max() <= 0.5
    assert (decoded.metadata.format, decoded.metadata.width, decoded.metadata.frames) == ("DICOM", 128, 1)
    assert decode((FILES / "examples_ybr_color.dcm").read_bytes()).metadata.frames == 30


def test_a_file_without_preamble_is_read() -> None:
    whole = made(STORED, WindowCenter=700, WindowWidth=900)
    header = pydicom.dcmread(BytesIO(whole))
    target = BytesIO()
    del header.file_meta, header.preamble
    header.save_as(target, implicit_vr=False, little_endian=True)
    bare = target.getvalue()
    assert b"DICM" not in bare[:132]
    assert np.array_equal(values(bare), values(whole))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("MR_truncated.dcm", "truncated", "its pixels cannot be read in full"),
        ("rtplan.dcm", "unsupported", "holds no image (RT Plan Storage)"),
        ("reportsi.dcm", "unsupported", "holds no image (Basic Text SR Storage)"),
        ("waveform_ecg.dcm", "unsupported", "Waveform"),
        ("badVR.dcm", "corrupt", "damaged"),
    ],
)
def test_what_is_no_image_is_named(name: str, kind: str, words: str) -> None:
    error = failure((FILES / name).read_bytes(), allow_truncated=True)
    assert error.kind == kind
    assert words in error.message


def test_the_size_is_checked_before_the_pixels() -> None:
    data = made(STORED, WindowCenter=700, WindowWidth=900)
    assert failure(data, max_pixels=1000).kind == "too-large"
    header = pydicom.dcmread(BytesIO(data))
    header.Rows = header.Columns = 65535
    assert failure(saved(header)).kind == "too-large"


def test_without_pydicom_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    error = failure((FILES / "CT_small.dcm").read_bytes())
    assert error.kind == "unsupported"
    assert error.message == f"a DICOM file, which needs the package pydicom: {INSTALL}"


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    error = failure((FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes())
    assert error.kind == "unsupported"
    assert "JPEG-LS Lossless" in error.message
    assert INSTALL in error.message


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"), ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm")],
)
def test_lossless_jpeg_gives_the_values_that_were_compressed(compressed: str, plain: str) -> None:
    found = pixel_array(FILES / compressed, decoding_plugin="imagecodecs")
    assert np.array_equal(found, pixel_array(FILES / plain))


def test_jpeg_of_twelve_bits_is_decoded() -> None:
    """Both files are of one image; that of the second has a marker that other decoders refuse."""
    first, second = (
        pixel_array(FILES / name, decoding_plugin="imagecodecs") for name in ("JPGExtended.dcm", "JPEG-lossy.dcm")
    )
    original = pixel_array(FILES / "JPEG2000.dcm")
    assert first.max() == 264
    assert np.array_equal(first, second)
    assert np.corrcoef(first.ravel(), original.ravel())[0, 1] > 0.9


def test_twelve_bits_need_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGExtended12BitDecoder, pillow

    monkeypatch.setattr(JPEGExtended12BitDecoder, "_available", {"pillow": pillow._decode_frame})
    monkeypatch.setattr(dicom_decoders, "find_spec", lambda _: None)
    error = failure((FILES / "JPGExtended.dcm").read_bytes())
    assert error.kind == "unsupported"
    assert error.message.endswith(f"which needs a decoder: {INSTALL}")


def test_no_message_or_note_quotes_the_header() -> None:
    data = made(STORED, PatientComments=SECRET, WindowCenter=700, WindowWidth=900)
    with pillow_limits():
        for length in range(140, len(data), 97):
            assert SECRET not in failure(data[:length]).message
        for at in range(132, 700, 5):
            damaged = bytearray(data)
            damaged[at] ^= 0xFF
            try:
                notes = decode(bytes(damaged)).metadata.notes
            except ImageError as error:
                notes = (error.message,)
            assert not any(part in note for note in notes for part in ("Schmidt", "Erika"))


def test_a_panic_of_a_decoder_is_the_images_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(*_: object, **__: object) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr("pydicom.pixels.utils.pixel_array", panic)
    error = failure((FILES / "MR_small_RLE.dcm").read_bytes())
    assert error.kind == "corrupt"
    assert "PanicException" in error.message
