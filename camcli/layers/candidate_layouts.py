"""The layouts that an activation's shape admits, and where each of them expects the perturbed blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camcli.layers.layout import Layout, LayoutKind
from camcli.layers.perturb import Box

WIDTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # reach of a block in cells: one, up to the receptive fields of deep convolutions
SHIFTS = (0.0, 0.5)  # cells by which a block lands too far: strided layers look at the top left corner of their cells
_MOST_PREFIX = 24
_SKEW = 4.0  # a grid's aspect differs from the image's by no more than this factor


@dataclass(frozen=True, slots=True)
class CandidateLayout:
    """A layout, or an alternative that is only there for comparison: columns first, or with tokens behind the grid.

    Attributes:
        kind, grid, prefix: as in :class:`~camcli.layers.layout.Layout`.
        suffix: tokens behind the grid.
        columns_first: whether the grid is stored column by column.
    """

    kind: LayoutKind
    grid: tuple[int, int]
    prefix: int = 0
    suffix: int = 0
    columns_first: bool = False

    @property
    def layout(self) -> Layout | None:
        """The layout it describes; None for an alternative that no layout describes."""
        return None if self.columns_first or self.suffix else Layout(self.kind, self.grid, self.prefix)

    @property
    def axis(self) -> int:
        """The axis of the channels."""
        return {"nchw": 1, "nhwc": 3, "tokens": 2}[self.kind]

    def predictions(self, boxes: tuple[Box, ...]) -> Tensor:
        """:meth:`expected` for each reach that makes sense on this grid and each shift: (P, K, positions)."""
        widths = [width for width in WIDTHS if width <= max(2.0, min(self.grid) / 4)]
        return self._expected(boxes, torch.tensor(widths), torch.tensor(SHIFTS))

    def expected(self, boxes: tuple[Box, ...], width: float, shift: float) -> Tensor:
        """How much each position should change for each image: (K, positions), prefix and suffix left out."""
        return self._expected(boxes, torch.tensor([width]), torch.tensor([shift]))[0]

    def _expected(self, boxes: tuple[Box, ...], widths: Tensor, shifts: Tensor) -> Tensor:
        """All widths and shifts at once, (W·S, K, positions): one by one they cost more than a small network's pass."""
        y0, y1, x0, x1 = torch.tensor(boxes).T
        rows = _reach(y0, y1, self.grid[0], widths, shifts)
        columns = _reach(x0, x1, self.grid[1], widths, shifts)
        maps = rows[..., :, None] * columns[..., None, :]
        return (maps.transpose(-1, -2) if self.columns_first else maps).flatten(0, 1).flatten(2)

    def is_row_variant(self, other: CandidateLayout) -> bool:
        """Whether the two differ only in whole rows that one takes for prefix tokens and the other for grid."""
        return (
            (self.kind, self.grid[1], self.columns_first) == (other.kind, other.grid[1], other.columns_first)
            and self.prefix % self.grid[1] == other.prefix % other.grid[1]
            and self.suffix % self.grid[1] == other.suffix % other.grid[1]
        )

    def skew(self, image: tuple[int, int]) -> float:
        """How far the grid's aspect is from the image's, 0 for equal."""
        return abs(math.log(self.grid[0] * image[1] / (self.grid[1] * image[0])))

    def __str__(self) -> str:
        if self.columns_first:
            return f"{self.kind} {self.grid[0]}x{self.grid[1]} with rows and columns exchanged"
        if self.suffix:
            return f"{self.grid[0]}x{self.grid[1]} tokens with {self.prefix} before and {self.suffix} behind the grid"
        return str(self.layout)


def list_candidates(shape: tuple[int, ...], image: tuple[int, int]) -> list[CandidateLayout]:
    """The layouts that an activation (N, ...) can have for an image of height × width."""
    return list(_candidates(shape, image))


def has_candidates(shape: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Whether there are any :func:`list_candidates`."""
    return next(_candidates(shape, image), None) is not None


def _candidates(shape: tuple[int, ...], image: tuple[int, int]) -> Iterator[CandidateLayout]:
    if len(shape) == 4:
        kinds: tuple[tuple[LayoutKind, int], ...] = (("nchw", 2), ("nhwc", 1))
        for kind, first in kinds:
            if _fits_image(shape[first], shape[first + 1], image):
                yield CandidateLayout(kind, (shape[first], shape[first + 1]))
    elif len(shape) == 3:
        for prefix in range(min(_MOST_PREFIX, shape[1] // 4) + 1):
            for grid in _grids(shape[1] - prefix, image):
                yield CandidateLayout("tokens", grid, prefix)


def competing_candidates(candidate: CandidateLayout) -> list[CandidateLayout]:
    """What predicts nearly the same as this layout: the same grid column by column, or with tokens behind it."""
    height, width = candidate.grid
    stored = candidate.grid if candidate.kind == "tokens" else (width, height)
    suffixes = {1, candidate.prefix} if candidate.prefix else set()
    return [
        replace(candidate, grid=stored, columns_first=True),
        *(replace(candidate, prefix=candidate.prefix - suffix, suffix=suffix) for suffix in sorted(suffixes)),
    ]


def _fits_image(height: int, width: int, image: tuple[int, int]) -> bool:
    if height * width < 2 or height > image[0] or width > image[1]:
        return False
    return abs(math.log((height / width) / (image[0] / image[1]))) <= math.log(_SKEW) + 1e-9


def _grids(count: int, image: tuple[int, int]) -> Iterator[tuple[int, int]]:
    square = math.sqrt(count * image[0] / image[1])  # rows of a grid of the image's aspect
    skewed = math.sqrt(_SKEW)
    for height in range(max(1, int(square / skewed)), min(count, int(square * skewed) + 1) + 1):
        if count % height == 0 and _fits_image(height, count // height, image):
            yield height, count // height


def _reach(starts: Tensor, stops: Tensor, cells: int, widths: Tensor, shifts: Tensor) -> Tensor:
    """How strongly K intervals [start, stop) of the unit interval reach each of the cells: (W, S, K, cells)."""
    edges = ((torch.arange(cells + 1) - shifts[:, None]) / cells)[:, None]
    covered = torch.minimum(edges[..., 1:], stops[:, None]) - torch.maximum(edges[..., :-1], starts[:, None])
    at = torch.arange(cells, dtype=torch.float32)
    apart = (at[:, None] - at).square()
    reach = torch.exp(-apart / (2 * widths.square())[:, None, None])
    return (covered.clamp(min=0) * cells) @ reach[:, None]
