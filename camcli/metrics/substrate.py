"""What stands in place of the pixels that an image has lost: where insertion curves start and deletion curves end.

``blur``   the image under a wide Gaussian, see :mod:`camcli.metrics.blur`
``mean``   the mean of each channel of the image
``noise``  standard normal numbers in normalised space, for every pixel and channel, drawn from the image's seed
``zero``   0 in normalised space: the mean colour of the model's training images
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from camcli.device import to_device
from camcli.metrics.blur import blur

_STREAM = 0x5B57A7E
"""Makes the numbers others than those that the same seed gives the random map and the order of equal values."""


def substrate(key: str, inputs: Tensor, seeds: Sequence[int]) -> Tensor:
    """The substrate of each image, (N, C, H, W).

    Args:
        key: one of :data:`SUBSTRATES`.
        inputs: (N, C, H, W), normalised.
        seeds: N, one an image; only ``noise`` uses them.
    """
    return _MAKE[key](inputs, seeds)


def _mean(inputs: Tensor, _seeds: Sequence[int]) -> Tensor:
    return inputs.mean((2, 3), keepdim=True).expand_as(inputs)


def _noise(inputs: Tensor, seeds: Sequence[int]) -> Tensor:
    # On the CPU, so that every device gets the same numbers.
    parts = [torch.randn(inputs.shape[1:], generator=torch.Generator().manual_seed(seed ^ _STREAM)) for seed in seeds]
    return to_device(torch.stack(parts), inputs.device).to(inputs.dtype)


_MAKE: Mapping[str, Callable[[Tensor, Sequence[int]], Tensor]] = MappingProxyType({
    "blur": lambda inputs, seeds: blur(inputs),
    "mean": _mean,
    "noise": _noise,
    "zero": lambda inputs, seeds: torch.zeros_like(inputs),
})  # fmt: skip

SUBSTRATES = tuple(_MAKE)
