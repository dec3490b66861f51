"""Normal noise that is the same, bit for bit, on every device: Philox4x32-10 of Salmon et al. 2011 (Random123).

A counter-based generator computes a number from its place alone, where it is needed; nothing is drawn on the CPU and
sent. Integers and a table take the place of functions whose last bits differ between devices.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from camcli.device import to_device

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_WORD = 0xFFFFFFFF
_TABLE = 1 << 16

Words = Sequence[Tensor]
"""int64 tensors of numbers below 2³²."""


def philox(counter: Words, key: Words) -> list[Tensor]:
    """Four random words of a counter of four and a key of two, which broadcast."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(_ROUNDS):
        # The product of two words is below 2⁶⁴ and wraps in int64: its bits are right, and the shift's copies of the
        # sign are masked away.
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32 & _WORD) ^ c1 ^ k0, second & _WORD,
            (first >> 32 & _WORD) ^ c3 ^ k1, first & _WORD,
        )  # fmt: skip
        k0, k1 = k0 + _STEPS[0] & _WORD, k1 + _STEPS[1] & _WORD
    return [c0, c1, c2, c3]


def noise_key(seeds: Sequence[int], device: torch.device) -> Tensor:
    """The key of each image, (N, 2) int64: the words of its seed, which is below 2⁶⁴."""
    return to_device(torch.tensor([[seed & _WORD, seed >> 32 & _WORD] for seed in seeds]), device)


def normal_noise(key: Tensor, sample: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise, (N, \\*shape) float32.

    The counter is the position in the image, in groups of eight, and the number of the sample. Each half of a word is
    one of 65,536 equally likely quantiles, the largest of which is 4.32.

    Args:
        key: of the images, on the device where the noise is needed.
        sample: the number of the noise among those of the image.
        shape: of the noise of one image.
    """
    count = int(torch.Size(shape).numel())
    low, high = key.unsqueeze(2).unbind(1)  # (N, 1) each
    groups = torch.arange(-(-count // 8), device=key.device)[None]
    zero = torch.zeros_like(groups)
    words = torch.stack(philox((groups, zero + sample, zero, zero), (low, high)), dim=2)
    halves = torch.stack([words & _TABLE - 1, words >> 16], dim=3).flatten(1)[:, :count]
    return _quantiles(key.device)[halves].reshape(len(key), *shape)


@lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    """(65536,) float32: the standard normal quantiles of (i + ½) / 65536, computed on the CPU for every device."""
    shares = (torch.arange(_TABLE, dtype=torch.float64) + 0.5) / _TABLE
    return to_device(torch.special.ndtri(shares).float(), device)
