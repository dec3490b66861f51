"""Stand-ins for the JPEG decoder of torchvision on a CUDA device, for :func:`tests.fake_cuda.fake_cuda`."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from tests.fake_cuda import fake_cuda


@dataclass
class NvJpeg:
    """Decodes with Pillow, or raises.

    Attributes:
        error: raised for every picture but the small one of the start.
        makes_up: takes anything, and returns white.
        calls: the thread and the content of each.
    """

    error: Exception | None = None
    makes_up: bool = False
    calls: list[tuple[str, bytes]] = field(default_factory=list)

    def __call__(self, data: Tensor, mode: object, device: torch.device) -> Tensor:
        assert mode == torchvision.io.ImageReadMode.RGB
        assert device == torch.device("cuda:0")
        assert data.device.type == "cpu"
        content = data.numpy().tobytes()
        with Image.open(io.BytesIO(content)) as opened:
            is_of_start = opened.size == (32, 24)
            self.calls += [] if is_of_start else [(threading.current_thread().name, content)]
            if self.error is not None and not is_of_start:
                raise self.error
            pixels = np.full((*opened.size[::-1], 3), 255, np.uint8) if self.makes_up else np.array(opened)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(device)


@contextmanager
def nvjpeg(decoder: NvJpeg) -> Iterator[NvJpeg]:
    """Inside, torch has a CUDA device, and torchvision decodes there so."""
    with fake_cuda(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.io, "decode_jpeg", decoder)
        yield decoder
