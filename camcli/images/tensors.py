"""The last step of preprocessing, for a batch on the model's device: uint8 pixels are copied to it, not floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from camcli.images.preprocess import Preprocessing

if TYPE_CHECKING:
    import torch

_MOST_CHANNELS = 4  # that OpenCV's look-up is known to take in every release


def to_input(
    batch: np.ndarray | torch.Tensor | Sequence[np.ndarray], preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
) -> torch.Tensor:  # fmt: skip
    """The model's input of a batch.

    Args:
        batch: :attr:`Prepared.pixels` of several images, stacked or not: (N, height, width, channels) uint8 or float32,
            or (N, channels, height, width) float32, normalised already, of a user's own preprocessing. Or the same
            as a tensor, which may be on the device already.
        preprocessing: whose mean and deviation are used.
        device: where the tensor shall be.

    Returns:
        (N, channels, height, width) float32, (x / 255 − mean) / std of uint8 and (x − mean) / std of float32, computed
        in the order torchvision computes it. The memory stays channels-last.
    """
    import torch

    device = torch.device(device)
    if isinstance(batch, Sequence):
        kinds = {pixels.dtype for pixels in batch}
        if len(kinds) > 1:
            return _mixed(batch, preprocessing, device)
        batch = np.stack(batch)
    if isinstance(batch, np.ndarray):
        if batch.dtype == np.uint8 and device.type == "cpu" and batch.shape[-1] <= _MOST_CHANNELS:
            inputs = _look_up(batch, _table(preprocessing.mean, preprocessing.std))
            return torch.from_numpy(inputs).permute(0, 3, 1, 2)
        batch = torch.from_numpy(np.require(batch, requirements=["C", "W"]))
    batch = batch.to(device)
    if preprocessing.custom is not None:
        return batch.to(torch.float32)
    if batch.dtype == torch.uint8 and device.type != "cpu":
        return _look_up_on_device(batch, _table_on_device(preprocessing.mean, preprocessing.std, device))
    return _normalise(batch.permute(0, 3, 1, 2), preprocessing.mean, preprocessing.std)


def _mixed(batch: Sequence[np.ndarray], preprocessing: Preprocessing, device: torch.device) -> torch.Tensor:
    """Images of 8 bits among others, each computed as without the others."""
    import torch

    inputs: list[torch.Tensor | None] = [None] * len(batch)
    for is_bytes in (True, False):
        places = [i for i, pixels in enumerate(batch) if (pixels.dtype == np.uint8) == is_bytes]
        for place, one in zip(places, to_input([batch[i] for i in places], preprocessing, device), strict=True):
            inputs[place] = one
    stacked = torch.stack([one for one in inputs if one is not None])
    return stacked.contiguous(memory_format=torch.channels_last)


class Sender:
    """Copies batches to a CUDA device while that computes: from pinned memory if it can, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, pixels: Sequence[np.ndarray]) -> Sent:
        """Start the copy of a batch; ``pixels`` are those of single images, as :func:`to_input` takes them stacked."""
        import torch

        from camcli.device import empty_on_host

        dtype = torch.uint8 if pixels[0].dtype == np.uint8 else torch.float32
        batch = empty_on_host((len(pixels), *pixels[0].shape), dtype, pinned=True)
        np.stack(pixels, out=batch.numpy())
        with torch.cuda.stream(self._stream):
            copy = batch.to(self._device, non_blocking=True)
            return Sent(copy, self._stream.record_event())


@dataclass(frozen=True)
class Sent:
    """A batch on its way to a CUDA device."""

    copy: torch.Tensor
    done: torch.cuda.Event

    def __call__(self) -> torch.Tensor:
        """The batch, for the current stream of the thread that asks: what that does with it waits for the copy."""
        import torch

        stream = torch.cuda.current_stream(self.copy.device)
        stream.wait_event(self.done)
        self.copy.record_stream(stream)  # its memory is not reused before this stream has finished with it
        return self.copy


def _normalise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(N, channels, height, width) uint8 or float32 to float32."""
    import torch

    means, deviations = _constants(tuple(mean), tuple(std), pixels.device)
    if pixels.dtype != torch.uint8:
        return pixels.to(torch.float32).sub(means).div_(deviations)
    return pixels.to(torch.float32).div_(255).sub_(means).div_(deviations)


@lru_cache(maxsize=8)
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation, (channels, 1, 1) float32 each, which go to the device once."""
    import torch

    means, deviations = (torch.tensor(values, dtype=torch.float32, device=device) for values in (mean, std))
    return means.view(-1, 1, 1), deviations.view(-1, 1, 1)


def _look_up_on_device(batch: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """(N, channels, height, width) float32 of (N, height, width, channels) uint8, the values those of the CPU.

    Computed there they would not be: a division by a constant is a product with its reciprocal on CUDA.
    """
    import torch

    first = 256 * torch.arange(batch.shape[-1], dtype=torch.int32, device=batch.device)
    return table[batch.int() + first].permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _table_on_device(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """:func:`_table`, one channel after the other: (channels · 256,) float32."""
    import torch

    return torch.from_numpy(_table(mean, std)[0].T.copy()).flatten().to(device)


def _look_up(batch: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The same in one pass over the memory instead of four: (N, height, width, channels) float32."""
    count, height, width, channels = batch.shape
    looked_up: np.ndarray = cv2.LUT(batch.reshape(count * height, width, channels), table)
    return looked_up.reshape(batch.shape)


@lru_cache(maxsize=8)
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """What each of the 256 values becomes in each channel: (1, 256, channels) float32."""
    import torch

    values = torch.arange(256, dtype=torch.uint8).expand(1, len(mean), 1, 256)
    table: np.ndarray = _normalise(values, mean, std)[0].permute(1, 2, 0).contiguous().numpy()
    return table
