"""The order of the pixels by the values of a map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camcli.device import to_device


def pixel_ranks(maps: Tensor, seeds: Sequence[int]) -> Tensor:
    """The rank of every pixel, 0 for the highest value.

    Equal values are ordered by a permutation drawn from the image's seed, never by position: a map that is the same
    everywhere then orders its pixels at random instead of from the top left.

    Args:
        maps: (N, H, W).
        seeds: N, one an image.

    Returns:
        (N, H, W) int64, each image a permutation of 0 … H·W − 1.
    """
    count, height, width = maps.shape
    # A stable sort of permuted values: equal ones keep the order of the permutation, which is random.
    permutations = to_device(torch.stack([permutation(height * width, seed) for seed in seeds]), maps.device)
    values = maps.reshape(count, -1).gather(1, permutations)
    pixels = permutations.gather(1, values.argsort(dim=1, descending=True, stable=True))
    places = torch.arange(height * width, device=maps.device).expand(count, -1)
    return torch.empty_like(pixels).scatter_(1, pixels, places).reshape(count, height, width)


def permutation(count: int, seed: int) -> Tensor:
    """(count,) int64: a permutation of 0 … count − 1, the same for the same seed on every device."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def pixel_counts(total: int, fractions: Sequence[float]) -> Tensor:
    """(K,) int64: how many of ``total`` pixels each fraction is, rounded to the nearest."""
    return torch.tensor([round(total * fraction) for fraction in fractions])
