"""JPEGs decoded by nvJPEG on a CUDA device (``--device-decode``), through torchvision.

Pillow opens every file first and decides by its rules what is refused. The device gets ordinary, whole JPEGs
(:mod:`camcli.images.jpeg`), and gives their pixels to the image that Pillow has opened: everything around them
(orientation, profiles, notes) is then as ever. All others, and those that the device fails on, Pillow decodes.

torchvision decodes one image at a time, on a stream of its own, and lets the current stream of the calling thread wait
for it. Each thread has a stream here: on the one of the model, the copy to the host would wait for the model, and
memory that a computation still uses could be given to the decoder.
"""

import io
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from camcli.errors import DeviceError, describe_error, device_lost, is_device_lost, is_out_of_memory
from camcli.images.jpeg import find_end

if TYPE_CHECKING:
    import torch

_NO_MEMORY = "decoded on the CPU: memory on the device ran out"
_FAILED = "decoded on the CPU: nvJPEG could not decode it"

_streams = threading.local()


def load_on_device(opened: ImageFile.ImageFile, data: bytes, device: str) -> tuple[str, ...]:
    """Give an opened image its pixels, if it is a JPEG for the device; else leave it as it is, for Pillow.

    Returns:
        A note, where the device failed on it.

    Raises:
        CamError: the device is lost.
    """
    if opened.format not in ("JPEG", "MPO") or opened.mode != "RGB" or opened.info.get("adobe_transform") == 0:
        return ()  # without a transform, the components are red, green and blue
    end = find_end(data, opened.size)
    if end is None:
        return ()
    pixels, note = _try_to_decode(data[:end], device)
    if pixels is None or pixels.shape != (opened.height, opened.width, 3):
        return (note or _FAILED,)
    opened.im, opened.tile = Image.fromarray(pixels).im, []
    return ()


def require_device_decoder(device: str) -> None:
    """Decode a small JPEG on the device of a run.

    Raises:
        DeviceError: it is no CUDA device, or torchvision cannot decode there.
    """
    if not device.startswith("cuda"):
        raise DeviceError(
            f"--device-decode: nvJPEG decodes on a CUDA device, and this run is on {device}. Leave the flag out to "
            "decode on the CPU, or give --device cuda on a machine that has one."
        )
    file = io.BytesIO()
    Image.new("RGB", (32, 24)).save(file, "JPEG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape = _decode(file.getvalue(), device).shape
    except Exception as error:  # the flag cannot be used, whatever the cause
        reason = describe_error(error).partition(" Exception raised from")[0]
        raise DeviceError(
            f"--device-decode: torchvision cannot decode a JPEG on {device} ({reason[:200]}). Install a torchvision "
            "that is built for CUDA with nvJPEG, or leave the flag out to decode on the CPU."
        ) from error
    if shape != (24, 32, 3):
        raise DeviceError(f"--device-decode: decoding on {device} gives wrong sizes. Leave the flag out.")


def _try_to_decode(data: bytes, device: str) -> tuple[np.ndarray | None, str]:
    """The pixels, or None and a note."""
    note = ""
    try:
        return _decode(data, device), note
    except Exception as error:
        if is_device_lost(error):
            raise device_lost(device, error) from error
        note = _NO_MEMORY if is_out_of_memory(error) else _FAILED
    try:  # outside of the handler, which keeps the failed attempt's memory
        _stream(device).synchronize()  # an error of nvJPEG does not say whether the device still works
    except Exception as error:
        if is_device_lost(error):
            raise device_lost(device, error) from error
    return None, note


def _decode(data: bytes, device: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    import torch
    from torchvision import io as files

    from camcli.device import use_device

    place = torch.device(device)
    with use_device(place), torch.cuda.stream(_stream(device)):
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        planes = files.decode_jpeg(encoded, mode=files.ImageReadMode.RGB, device=place)
        # Copying to memory that is not pinned waits for this stream, and for no other.
        pixels: np.ndarray = planes.permute(1, 2, 0).contiguous().cpu().numpy()
        return pixels


def _stream(device: str) -> "torch.cuda.Stream":
    """The stream of this thread on the device."""
    import torch

    own: dict[str, Any] = _streams.__dict__
    if device not in own:
        own[device] = torch.cuda.Stream(torch.device(device))  # type: ignore[no-untyped-call]
    return own[device]  # type: ignore[no-any-return]
