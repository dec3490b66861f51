"""The last step of preprocessing: a batch of pixels becomes the model's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import normalize, to_tensor

from camcli.images import Preprocessing, to_input


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 200])
def test_pixels_are_normalised_as_torchvision_does_bit_for_bit(channels: int) -> None:
    rng = np.random.default_rng(channels)
    mean, std = rng.uniform(0, 1, channels).tolist(), rng.uniform(0.1, 1, channels).tolist()
    pre = Preprocessing(channels, 7, 9, mean=tuple(mean), std=tuple(std))
    batch = rng.integers(0, 256, (3, 7, 9, channels), dtype=np.uint8)
    found = to_input(batch, pre)
    assert found.shape == (3, channels, 7, 9)
    assert found.dtype == torch.float32
    for pixels, one in zip(batch, found, strict=True):
        assert torch.equal(one, normalize(to_tensor(pixels), mean, std))


def test_the_memory_of_pixels_stays_channels_last() -> None:
    found = to_input(np.zeros((2, 8, 6, 3), np.uint8), Preprocessing(3, 8, 6))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_batch_given_is_not_touched() -> None:
    batch = np.full((1, 4, 4, 3), 7, np.uint8)
    batch.flags.writeable = False
    to_input(batch, Preprocessing(3, 4, 4)).add_(1)
    assert (batch == 7).all()


def test_floats_are_taken_as_they_are() -> None:
    batch = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    assert torch.equal(to_input(batch, Preprocessing(3, 5, 4, custom=lambda image: image)), torch.from_numpy(batch))
