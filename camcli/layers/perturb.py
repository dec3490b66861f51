"""The perturbed images that layouts are verified with."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Box = tuple[float, float, float, float]
"""y0, y1, x0, x1 as shares of the image's height and width."""

# (row, column) of the block's centre, one block an image. A pinwheel: each is far from the others, so that even the
# wide receptive fields of deep convolutions keep them apart; no rotation, mirror image or transpose of it is itself.
CENTRES: tuple[tuple[float, float], ...] = ((0.14, 0.30), (0.32, 0.86), (0.66, 0.13), (0.87, 0.62))
BLOCK = 1 / 7  # side of a block as a share of the image's: one cell of the usual last map, 2x2 patches of a usual ViT
_MORE = 3  # blocks of a second batch, where the first is not conclusive: each costs a pass
_BRIGHTNESS = 2.0  # added to blocks, in deviations: a stem averages noise away, not brightness


@dataclass(frozen=True)
class Perturbation:
    """A batch to send through a model.

    Attributes:
        images: (K + 2, C, H, W): the image as it is, K with a block replaced, one replaced throughout; the last is
            missing where it went through the model before.
        boxes: of each of the K images, its block.
    """

    images: Tensor
    boxes: tuple[Box, ...]


def structured_noise(count: int, channels: int, height: int, width: int, seed: int) -> Tensor:
    """Images (count, C, H, W) with both fine and coarse structure, about unit deviation."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(count, channels, height, width, generator=generator)
    coarse = torch.randn(count, channels, height // 16 + 2, width // 16 + 2, generator=generator)
    return 0.5 * fine + F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def perturb_image(channels: int, height: int, width: int) -> Perturbation:
    """The images for an input of this size."""
    base, other = structured_noise(2, channels, height, width, seed=1).unsqueeze(1)
    return _replace_blocks(base, other + _BRIGHTNESS, CENTRES, [other + _BRIGHTNESS])


def perturb_elsewhere(first: Perturbation) -> Perturbation:
    """The same image with blocks at other, mirrored positions, and not replaced throughout."""
    mirrored = [(row, 1 - column) for row, column in CENTRES[:_MORE]]
    return _replace_blocks(first.images[:1], first.images[-1:], mirrored, [])


def _replace_blocks(
    base: Tensor, other: Tensor, centres: Iterable[tuple[float, float]], last: list[Tensor]
) -> Perturbation:
    height, width = base.shape[2:]
    images, boxes = [base], []
    for row, column in centres:
        (y0, y1), (x0, x1) = _interval(row, height), _interval(column, width)
        image = base.clone()
        image[:, :, y0:y1, x0:x1] = other[:, :, y0:y1, x0:x1]
        images.append(image)
        boxes.append((y0 / height, y1 / height, x0 / width, x1 / width))
    return Perturbation(torch.cat([*images, *last]), tuple(boxes))


def _interval(centre: float, size: int) -> tuple[int, int]:
    length = max(1, round(BLOCK * size))
    start = min(max(0, round(centre * size - length / 2)), size - length)
    return start, start + length
