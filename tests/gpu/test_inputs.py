"""What the model gets is bit for bit what it gets on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camcli.images import Preprocessing, Sender, to_input

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocessing(channels: int = 3) -> Preprocessing:
    mean, std = (MEAN * 3)[:channels], (STD * 3)[:channels]
    return Preprocessing(channels=channels, width=32, height=24, mean=mean, std=std)


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_every_value_of_every_channel(device: torch.device, channels: int) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    batch = np.concatenate([np.roll(values, 5 * i, 1) for i in range(channels)], 3)
    here, there = (to_input(batch, preprocessing(channels), place) for place in ("cpu", device))
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), here)
    assert there.stride() == here.stride()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_as_it_is_sent_ahead(device: torch.device, dtype: str) -> None:
    chance = np.random.default_rng(0)
    images = [(chance.random((24, 32, 3)) * 255).astype(dtype) for _ in range(5)]
    pre = preprocessing()
    here = to_input(images, pre)
    assert torch.equal(to_input(images, pre, device).cpu(), here)
    assert torch.equal(to_input(Sender(device)(images)(), pre, device).cpu(), here)


def test_8_bit_images_among_others(device: torch.device) -> None:
    chance = np.random.default_rng(0)
    images = [(chance.random((24, 32, 3)) * 255).astype(d) for d in ("uint8", "float32", "uint8")]
    assert torch.equal(to_input(images, preprocessing(), device).cpu(), to_input(images, preprocessing()))


def test_batches_arrive_whole(device: torch.device) -> None:
    """Several copies at once, each from pinned memory of its own."""
    images = [np.random.default_rng(i).integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in range(64)]
    sender = Sender(device)
    sent = [sender([np.roll(one, shift, 0) for one in images]) for shift in range(8)]
    for shift, batch in enumerate(sent):
        assert np.array_equal(batch().cpu().numpy(), np.stack([np.roll(one, shift, 0) for one in images]))
