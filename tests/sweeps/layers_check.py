"""What the sweep holds against a reported layer: a Grad-CAM and perturbations of its own.

Nothing here uses the package's layout of activations: channels, rows, columns and prefix tokens are taken from the
reported words, by plain indexing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FOLLOWED = 0.7  # correlation of rows, and of columns; of 16 random places one pair in a hundred thousand has as much
EVEN = 0.65  # evenness; one half is what a wrong factorisation has


@dataclass(frozen=True)
class Reported:
    """A layer as it stands in the index."""

    path: str
    layout: str
    grid: tuple[int, int]
    prefix_tokens: int

    def maps(self, activation: Tensor) -> Tensor:
        """(N, ...) → (N, K, h, w); fails where the report does not fit the activation."""
        rows, columns = self.grid
        if self.layout == "nchw":
            maps = activation
        elif self.layout == "nhwc":
            maps = torch.movedim(activation, -1, 1)
        else:
            tokens = activation[:, self.prefix_tokens :, :]
            maps = torch.stack([tokens[:, r * columns : (r + 1) * columns] for r in range(rows)], dim=1).movedim(-1, 1)
        if tuple(maps.shape[2:]) != self.grid:
            raise AssertionError(f"{self.path}: {tuple(activation.shape)} has no {rows}x{columns} grid")
        return maps


def activation_of(output: Any) -> Tensor:
    """The reported activation in a module's output: the first tensor with three or four dimensions."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output
    return next(activation_of(value) for value in values if isinstance(value, Tensor | tuple | list | dict))


def gradcam(module: nn.Module, reported: Reported, image: Tensor) -> Tensor:
    """(h, w): Grad-CAM of the highest score, written out; ``image`` (1, C, H, W)."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = activation_of(output)
        activation.retain_grad()
        kept.append(activation)

    handle = module.get_submodule(reported.path).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = module(image.clone().requires_grad_())
            before = kept[0].detach().clone()  # an in-place operation may follow
            (scores.flatten(1).max() if scores.ndim > 1 else scores.max()).backward()
    finally:
        handle.remove()
    gradient = kept[0].grad
    assert gradient is not None
    maps, slopes = reported.maps(before), reported.maps(gradient)
    return (slopes.mean((2, 3), keepdim=True) * maps).sum(1)[0]


@dataclass(frozen=True)
class Followed:
    """How well the place where an activation moves follows the place that was changed in the image.

    Attributes:
        rows, columns: correlation, over the places, of the row and of the column of the changed patch with the centre
            of mass of the activation change.
        evenness: the smaller of the two slopes over the larger, in shares of the grid and of the image. A wrong
            factorisation (6x24 for 12x12) follows in both directions, in one of them half as far.
    """

    rows: float
    columns: float
    evenness: float

    @property
    def faults(self) -> list[str]:
        """The reasons against the reported layout."""
        found = []
        if min(self.rows, self.columns) < FOLLOWED:
            found.append(f"perturbations are not followed (rows {self.rows:.2f}, columns {self.columns:.2f})")
        if self.evenness < EVEN:
            found.append(f"rows and columns are not followed alike (slopes {self.evenness:.2f} to 1)")
        return found


def follows(module: nn.Module, reported: Reported, shape: tuple[int, int, int], count: int = 16) -> Followed:
    """Invert a patch of the image at ``count`` random places and see where the activation moves.

    What counts is the centre of mass of the activation change beyond the average change of that cell.
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(77)
    ramp = torch.linspace(-1, 1, width).expand(height, width) * torch.linspace(1, -1, height)[:, None]
    image = ramp.expand(1, channels, height, width) + 0.7 * torch.randn(1, channels, height, width, generator=generator)
    side_y, side_x = max(1, height // 5), max(1, width // 5)
    places = [(0.5, 0.5), (0.1, 0.1), (0.1, 0.9), (0.9, 0.1), (0.9, 0.9)]
    places += [tuple(torch.rand(2, generator=generator).tolist()) for _ in range(count - len(places))]
    moved = []
    with torch.no_grad():
        still = _seen(module, reported, image)
        for row, column in places:
            y, x = round(row * (height - side_y)), round(column * (width - side_x))
            changed = image.clone()
            changed[:, :, y : y + side_y, x : x + side_x] = 2.0 - changed[:, :, y : y + side_y, x : x + side_x]
            moved.append((_seen(module, reported, changed) - still).float().pow(2).sum(1).sqrt()[0])
    fields = torch.stack(moved)
    fields = fields / (fields.mean((1, 2), keepdim=True) + 1e-30)  # some patches change more than others
    fields = fields / (fields.mean(0) + 1e-3)  # some cells move for any patch
    fields = (fields - fields.mean((1, 2), keepdim=True)).clamp(min=0).square()
    mass = fields.sum((1, 2)) + 1e-30
    rows = (fields.sum(2) * torch.arange(fields.shape[1])).sum(1) / mass
    columns = (fields.sum(1) * torch.arange(fields.shape[2])).sum(1) / mass
    where = torch.tensor(places)
    slopes = [
        abs(_slope(where[:, axis], centre / size))
        for axis, (centre, size) in enumerate(zip((rows, columns), reported.grid, strict=True))
    ]
    return Followed(
        _correlation(rows, where[:, 0]), _correlation(columns, where[:, 1]), min(slopes) / (max(slopes) + 1e-30)
    )


def _seen(module: nn.Module, reported: Reported, image: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = module.get_submodule(reported.path).register_forward_hook(
        lambda _module, _inputs, output: kept.append(activation_of(output).clone())
    )
    try:
        module(image)
    finally:
        hook.remove()
    assert len(kept) == 1, f"{reported.path} ran {len(kept)} times"
    return reported.maps(kept[0])


def _slope(x: Tensor, y: Tensor) -> float:
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm() + 1e-30))
