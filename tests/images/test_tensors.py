"""The last step of preprocessing: on a device the values of the CPU, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camcli.images.tensors import _look_up_on_device, _table, _table_on_device, to_input
from tests.images.test_bands import plain


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_the_table_on_a_device_gives_the_values_of_the_cpu(channels: int) -> None:
    preprocessing = plain(channels)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 5, channels), dtype=np.uint8)
    expected = to_input(pixels, preprocessing)
    mean, std = preprocessing.mean, preprocessing.std
    table = _table_on_device(mean, std, torch.device("cpu"))
    found = _look_up_on_device(torch.from_numpy(pixels), table)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert _table_on_device(mean, std, torch.device("cpu")) is table  # goes to the device once


def test_a_division_by_a_constant_through_its_reciprocal_gives_other_values() -> None:
    """Why there is a table: so CUDA divides a tensor by a number."""
    values = np.arange(256, dtype=np.float32)
    reciprocal = values * np.float32(1 / 255)
    assert (reciprocal != values / np.float32(255)).sum() > 50
    (table,) = _table((0.0,), (1.0,))
    assert np.array_equal(table[:, 0], values / np.float32(255))
