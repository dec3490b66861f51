"""``--aug-smooth``: the image flipped and at other intensities, the maps flipped back and averaged."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from camcli.device import to_device

INTENSITIES = (0.9, 1.0, 1.1)


def augment(inputs: Tensor, mean: Sequence[float], std: Sequence[float]) -> Iterator[tuple[Tensor, bool]]:
    """The augmented batches and whether each is flipped, but the plain one.

    Args:
        inputs: (N, C, H, W), normalised.
        mean, std: of the normalisation, one a channel. An intensity multiplies pixels, not normalised values.
    """
    shift, scale = (
        to_device(torch.tensor(each, dtype=inputs.dtype)[:, None, None], inputs.device) for each in (mean, std)
    )
    for flipped in (False, True):
        for intensity in INTENSITIES:
            if flipped or intensity != 1.0:
                pixels = (inputs * scale + shift) * intensity
                varied = (pixels - shift) / scale if intensity != 1.0 else inputs
                yield (varied.flip(3) if flipped else varied), flipped


def average(maps: Sequence[tuple[Tensor, bool]]) -> Tensor:
    """The mean of raw maps (N, h, w), each turned back where it is of a flipped image."""
    return torch.stack([m.flip(2) if flipped else m for m, flipped in maps]).mean(0)
