"""JPEGs decoded on a CUDA device: which they are, and that all others and all refusals are as without it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from camcli.errors import CamError, DeviceError, ImageError
from camcli.images import Decoded, DecodeSettings, decode, pillow_limits, require_device_decoder
from camcli.images.jpeg import find_end
from tests.faults.corpus import HARMS
from tests.nvjpeg import NvJpeg, nvjpeg
from tests.out_of_memory import LOST

from .files import encoded, photo

HOST = DecodeSettings(max_pixels=10**6)
DEVICE = replace(HOST, device="cuda:0")
TURNED = Image.Exif()
TURNED[0x0112] = 6
PLAIN = {
    "4:4:4": encoded(photo(), "JPEG", subsampling=0),
    "4:2:2": encoded(photo(), "JPEG", subsampling=1),
    "4:2:0": encoded(photo(95, 63), "JPEG", subsampling=2, optimize=True),
    "progressive": encoded(photo(95, 63), "JPEG", progressive=True),
    "restarts": encoded(photo(95, 63), "JPEG", restart_marker_blocks=2),
    "restarts of progressive": encoded(photo(95, 63), "JPEG", progressive=True, restart_marker_rows=1),
    "turned": encoded(photo(), "JPEG", exif=TURNED),
    "profile": encoded(photo(), "JPEG", icc_profile=b"no profile" * 20000, comment=b"\xff\xd9" * 40),
    "pages": encoded(photo(), "MPO", save_all=True, append_images=[photo(40, 30)]),
    "more behind": encoded(photo(), "JPEG") + b"\xff\xd8\xff" + bytes(100),
}
OTHERS = {
    "grey": encoded(photo().convert("L"), "JPEG"),
    "CMYK": encoded(photo().convert("CMYK"), "JPEG"),
    "red, green, blue": encoded(photo(), "JPEG", keep_rgb=True),
    "PNG": encoded(photo(), "PNG"),
    "no end marker": encoded(photo(), "JPEG")[:-2],
}


def outcome(data: bytes, settings: DecodeSettings) -> Decoded | tuple[str, str]:
    try:
        with pillow_limits(max_pixels=settings.max_pixels):
            return decode(data, settings)
    except ImageError as error:
        return error.kind, error.message


def same(left: Decoded | tuple[str, str], right: Decoded | tuple[str, str]) -> bool:
    if isinstance(left, tuple) or isinstance(right, tuple):
        return left == right
    return left.metadata == right.metadata and np.array_equal(np.asarray(left.image), np.asarray(right.image))


@pytest.mark.parametrize("name", PLAIN)
def test_the_device_decodes_ordinary_jpegs(name: str) -> None:
    with nvjpeg(NvJpeg()) as decoder:
        assert same(outcome(PLAIN[name], DEVICE), outcome(PLAIN[name], HOST))
    [(_, content)] = decoder.calls
    assert PLAIN[name].startswith(content)
    assert content.endswith(b"\xff\xd9")
    with nvjpeg(NvJpeg(makes_up=True)):
        white = outcome(PLAIN[name], DEVICE)
    assert isinstance(white, Decoded)
    assert white.image.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("name", OTHERS)
def test_pillow_decodes_all_others(name: str) -> None:
    with nvjpeg(NvJpeg(makes_up=True)) as decoder:
        assert same(outcome(OTHERS[name], DEVICE), outcome(OTHERS[name], HOST))
    assert decoder.calls == []


def test_the_orientation_is_the_same() -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(photo(), "JPEG", exif=exif)
        with nvjpeg(NvJpeg()) as decoder:
            assert same(outcome(data, DEVICE), outcome(data, HOST))
        assert len(decoder.calls) == 1


def test_the_limit_comes_first() -> None:
    tight = replace(DEVICE, max_pixels=1000)
    with nvjpeg(NvJpeg()) as decoder:
        assert outcome(PLAIN["4:2:0"], tight) == outcome(PLAIN["4:2:0"], replace(tight, device=None))
    assert decoder.calls == []


def damaged(count: int) -> list[bytes]:
    """Ordinary JPEGs, cut at all places or harmed, half of them in their header."""
    files = [data[: len(data) * part // 20] for data in PLAIN.values() for part in range(20)]
    for seed in range(count):
        chance = random.Random(seed)
        data = chance.choice(list(PLAIN.values()))
        if seed % 2:
            changed = bytearray(data)
            for _ in range(chance.choice([1, 1, 2, 3])):
                changed[chance.randrange(min(len(changed), 700))] = chance.randrange(256)
            files.append(bytes(changed))
        else:
            files.append(chance.choice(HARMS)(data, chance))
    return files


@pytest.mark.parametrize("allow", [False, True])
def test_a_decoder_that_accepts_anything_gets_nothing_that_is_refused(allow: bool) -> None:
    settings = replace(HOST, allow_truncated=allow)
    counts = Counter[str]()
    with nvjpeg(NvJpeg(makes_up=True)) as decoder:
        for data in damaged(1000):
            there, here = outcome(data, replace(settings, device="cuda:0")), outcome(data, settings)
            if isinstance(here, tuple):
                counts[here[0]] += 1
                assert there == here
            else:
                assert isinstance(there, Decoded)
                assert there.metadata == here.metadata
    assert counts["truncated"] > (0 if allow else 200)
    assert counts["corrupt"] > 50
    assert len(decoder.calls) > 300


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (RuntimeError("Error while decoding JPEG images: Failed to decode jpeg stream: 6"), "nvJPEG could not decode"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory on the device ran out"),
        (RuntimeError("CUDA error: out of memory"), "memory on the device ran out"),
        (ValueError("anything"), "nvJPEG could not decode"),
    ],
)
def test_pillow_decodes_what_the_device_fails_on(error: Exception, note: str) -> None:
    with nvjpeg(NvJpeg(error)) as decoder:
        there, here = outcome(PLAIN["turned"], DEVICE), outcome(PLAIN["turned"], HOST)
    assert len(decoder.calls) == 1
    assert isinstance(there, Decoded)
    assert isinstance(here, Decoded)
    assert np.array_equal(np.asarray(there.image), np.asarray(here.image))
    assert len(there.metadata.notes) == 1
    assert note in there.metadata.notes[0]


@pytest.mark.parametrize("error", LOST)
def test_a_lost_device_is_no_error_of_the_image(error: Exception) -> None:
    with nvjpeg(NvJpeg(error)), pytest.raises(CamError, match=r"cuda:0 failed .*the same command continues") as caught:
        decode(PLAIN["4:2:0"], DEVICE)
    assert not isinstance(caught.value, ImageError)


def test_a_device_that_is_found_lost_after_an_error_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_stream: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with nvjpeg(NvJpeg(RuntimeError("Failed to synchronize CUDA stream: 700"))):
        monkeypatch.setattr(torch.cuda.Stream, "synchronize", lost)
        with pytest.raises(CamError, match="illegal memory access"):
            decode(PLAIN["4:2:0"], DEVICE)


def test_a_picture_of_another_size_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with nvjpeg(NvJpeg()):
        monkeypatch.setattr(torchvision.io, "decode_jpeg", lambda *_, **__: torch.zeros(3, 8, 8, dtype=torch.uint8))
        decoded = decode(PLAIN["4:2:0"], DEVICE)
    assert decoded.image.size == (95, 63)
    assert decoded.metadata.notes == ("decoded on the CPU: nvJPEG could not decode it",)


def test_the_start_requires_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    with nvjpeg(NvJpeg()):
        require_device_decoder("cuda:0")
        for device in ("cpu", "mps"):
            with pytest.raises(DeviceError, match=f"this run is on {device}. Leave the flag out"):
                require_device_decoder(device)
        built_without = RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support")
        for error in (built_without, AttributeError("no attribute 'decode_jpegs_cuda'")):

            def fail(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            monkeypatch.setattr(torchvision.io, "decode_jpeg", fail)
            with pytest.raises(DeviceError, match=f"{error}.*Install a torchvision") as caught:
                require_device_decoder("cuda:0")
            assert "\n" not in str(caught.value)


def segments(data: bytes) -> list[bytes]:
    """The parts of a baseline file before its scan."""
    parts, at = [], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        parts.append(data[at:end])
        at = end
    return parts


def test_the_walk_misses_no_part() -> None:
    data, size = PLAIN["4:2:0"], (95, 63)
    assert find_end(data, size) == len(data)
    assert find_end(data, (96, 63)) is None
    for part in segments(data):
        if part[1] != 0xE0:  # JFIF
            assert find_end(data.replace(part, b"", 1), size) is None, part[:2]
    frame = next(part for part in segments(data) if part[1] == 0xC0)
    for kind in (0xC1, 0xC3, 0xC9, 0xCA):  # extended, lossless, arithmetic
        assert find_end(data.replace(frame, bytes((0xFF, kind)) + frame[2:]), size) is None
    twelve_bits = frame[:4] + b"\x0c" + frame[5:]
    assert find_end(data.replace(frame, twelve_bits), size) is None


def test_a_missing_scan_or_restart_is_missed() -> None:
    size = (95, 63)
    progressive, restarts = PLAIN["progressive"], PLAIN["restarts"]
    scans = [at for at in range(len(progressive)) if progressive[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for first, second in pairwise(scans):
        assert find_end(progressive[:first] + progressive[second:], size) is None
    assert find_end(progressive[: scans[-1]] + b"\xff\xd9", size) is None
    at = restarts.index(b"\xff\xd1")
    assert find_end(restarts[:at] + b"\xff\xd2" + restarts[at + 2 :], size) is None
    assert find_end(restarts[:at] + restarts[at + 2 :], size) is None
