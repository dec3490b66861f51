"""The last step of preprocessing, done for a batch on the model's device: uint8 pixels travel, not floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from camcli.images.preprocess import Preprocessing

if TYPE_CHECKING:
    import torch


def to_input(batch: np.ndarray, preprocessing: Preprocessing, device: torch.device | str = "cpu") -> torch.Tensor:
    """The model's input of a batch.

    Args:
        batch: stacked :attr:`Prepared.pixels`: (N, height, width, channels) uint8, or (N, channels, height, width)
            float32, normalised already.
        preprocessing: whose mean and deviation are used for uint8.
        device: where the tensor shall be.

    Returns:
        (N, channels, height, width) float32, (x / 255 − mean) / std, computed in the order torchvision computes it. The
        memory of uint8 batches stays channels-last.
    """
    import torch

    tensor = torch.from_numpy(np.require(batch, requirements=["C", "W"]))
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)  # does not hold this thread up
    else:
        tensor = tensor.to(device)
    if tensor.dtype != torch.uint8:
        return tensor.to(torch.float32)
    mean = torch.tensor(preprocessing.mean, dtype=torch.float32, device=device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, dtype=torch.float32, device=device).view(-1, 1, 1)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(mean).div_(std)
