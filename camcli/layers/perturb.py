"""Perturbed images, and how far each position of an activation moves for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camcli.layers.structure import main_tensor

Box = tuple[float, float, float, float]
"""y0, y1, x0, x1 as shares of the image's height and width."""

# (row, column) of the block's centre, one block an image. A pinwheel: each lies far from the others, so that even the
# broad answers of deep convolutions tell them apart; none of its turns, mirror images or its transpose is itself.
CENTRES: tuple[tuple[float, float], ...] = ((0.14, 0.30), (0.32, 0.86), (0.66, 0.13), (0.87, 0.62))
BLOCK = 1 / 7  # side of a block as a share of the image's: one cell of the usual last map, 2x2 patches of a usual ViT
_LIFT = 2.0  # blocks are brighter too, in deviations: a stem averages noise away, not brightness
_MANY_PIXELS = 8 * 384 * 384  # pixels that go through the model at once


@dataclass(frozen=True)
class Perturbation:
    """A batch to send through a model.

    Attributes:
        images: (K + 2, C, H, W): the image as it is, K with a block replaced, one replaced throughout.
        boxes: of each of the K images, its block.
    """

    images: Tensor
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Movement:
    """How far each position moves, root mean square over the axis that is taken for the channels.

    Attributes:
        shape: of the activation of one image, (1, ...).
        by_axis: axis taken for the channels → (K + 1, ...) float32 on the CPU, the last row for the image replaced
            throughout. Axis 1 and 3 of a four-dimensional activation, axis 2 of a three-dimensional one.
    """

    shape: tuple[int, ...]
    by_axis: dict[int, Tensor]


def noise(count: int, channels: int, height: int, width: int, seed: int) -> Tensor:
    """Images (count, C, H, W) with both fine and coarse structure, about unit deviation."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(count, channels, height, width, generator=generator)
    coarse = torch.randn(count, channels, height // 16 + 2, width // 16 + 2, generator=generator)
    return 0.5 * fine + F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def perturbation(channels: int, height: int, width: int, mirrored: bool = False) -> Perturbation:
    """The images for an input of this size; ``mirrored`` gives another image with the blocks at mirrored places."""
    base, other = noise(2, channels, height, width, seed=4 if mirrored else 1).unsqueeze(1)
    images, boxes = [base], []
    other = other + _LIFT
    for row, column in CENTRES:
        y0, y1 = _interval(row, height)
        x0, x1 = _interval(1 - column if mirrored else column, width)
        image = base.clone()
        image[:, :, y0:y1, x0:x1] = other[:, :, y0:y1, x0:x1]
        images.append(image)
        boxes.append((y0 / height, y1 / height, x0 / width, x1 / width))
    return Perturbation(torch.cat([*images, other]), tuple(boxes))


def _interval(centre: float, size: int) -> tuple[int, int]:
    length = max(1, round(BLOCK * size))
    start = min(max(0, round(centre * size - length / 2)), size - length)
    return start, start + length


def movements(
    module: nn.Module, paths: Iterable[str], images: Tensor, feed: Callable[[Tensor], Any]
) -> dict[str, Movement]:
    """The movement of the outputs of these modules; modules whose output is no activation of the batch are left out.

    Args:
        module: the root, in eval mode.
        paths: canonical paths.
        images: as in :class:`Perturbation`.
        feed: runs the model on a batch.
    """
    collected: dict[str, list[Movement]] = {}
    height, width = images.shape[2:]
    size = max(1, _MANY_PIXELS // (height * width) - 1)
    batch = [0]
    with ExitStack() as hooks, torch.no_grad():
        for path in dict.fromkeys(paths):
            hook = _collect(collected, path, batch)
            hooks.callback(module.get_submodule(path).register_forward_hook(hook).remove)
        for chunk in torch.split(images[1:], size):
            batch[0] = 1 + len(chunk)
            feed(torch.cat([images[:1], chunk]))
    chunks = -(-(len(images) - 1) // size)
    return {path: _joined(parts) for path, parts in collected.items() if len(parts) == chunks}


def _collect(collected: dict[str, list[Movement]], path: str, batch: list[int]) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        tensor = main_tensor(output)
        if tensor is None or tensor.ndim not in (3, 4) or len(tensor) != batch[0]:
            return
        difference = (tensor[1:] - tensor[:1]).float()
        axes = (1, 3) if tensor.ndim == 4 else (2,)
        by_axis = {axis: difference.square().mean(axis).sqrt().cpu() for axis in axes}
        collected.setdefault(path, []).append(Movement((1, *tensor.shape[1:]), by_axis))

    return hook


def _joined(parts: list[Movement]) -> Movement:
    axes = parts[0].by_axis
    return Movement(parts[0].shape, {axis: torch.cat([part.by_axis[axis] for part in parts]) for axis in axes})
