"""GridPG: in a mosaic of images of several classes, how much of a class's map lies in the cell of that class?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.device import in_float64
from camcli.metrics.base import Metric


def mosaic(cells: Tensor, n: int, size: tuple[int, int] | None = None) -> Tensor:
    """n² images as one input, row by row.

    Args:
        cells: (n², C, H, W).
        n: cells a side.
        size: (height, width) of the mosaic, into which the cells are shrunk; None: n·H × n·W, nothing is shrunk.

    Returns:
        (1, C, height, width).
    """
    if size is not None:
        shapes = [(_edge(size[0], n, i), _edge(size[1], n, j)) for i in range(n) for j in range(n)]
        parts = [
            F.interpolate(cell[None], (bottom - top, right - left), mode="bilinear", antialias=True)
            for cell, ((top, bottom), (left, right)) in zip(cells, shapes, strict=True)
        ]
    else:
        parts = list(torch.split(cells, 1))
    return torch.cat([torch.cat(parts[i * n : (i + 1) * n], dim=3) for i in range(n)], dim=2)


def grid_pointing(maps: Tensor, n: int) -> Tensor:
    """The share of positive attribution in the cell of the class (Böhle 2021, arXiv:2104.00032; Rao 2022).

    Uniform is 1/n². Cells of a native map that an edge cuts count by their share of area.

    Args:
        maps: (n², h, w), raw: the map of the class of cell 0, 1, … of one mosaic.
        n: cells a side.

    Returns:
        (n²,) float32; NaN where nothing is positive.
    """
    mass = torch.relu(in_float64(maps))
    rows, columns = (_shares(length, n).to(mass.device) for length in maps.shape[1:])
    by_cell = torch.einsum("khw,ih,jw->kij", mass, rows, columns).reshape(len(maps), n * n)
    total = by_cell.sum(1)
    own = by_cell.diagonal()
    return torch.where(total > 0, own / total.clamp(min=1e-300), torch.nan).to(maps.device, torch.float32)


def choose_mosaics(classes: Sequence[int], n: int, most: int, seed: int) -> list[list[int]]:
    """Groups of n² images of distinct classes; every image at most once, so that mosaics are independent.

    Args:
        classes: of the candidates.
        n: cells a side.
        most: mosaics at most.
        seed: of the order in which candidates are tried.

    Returns:
        Positions in ``classes``.
    """
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed)).tolist()
    by_class: dict[int, list[int]] = {}
    for i in order:
        by_class.setdefault(classes[i], []).append(i)
    groups: list[list[int]] = []
    while len(groups) < most:
        # The classes with most images left first: this makes the most groups.
        fullest = sorted(by_class, key=lambda c: -len(by_class[c]))[: n * n]
        if len(fullest) < n * n or not by_class[fullest[-1]]:
            break
        groups.append([by_class[c].pop() for c in fullest])
    return groups


def _edge(length: int, n: int, i: int) -> tuple[int, int]:
    return round(length * i / n), round(length * (i + 1) / n)


def _shares(length: int, n: int) -> Tensor:
    """(n, length): the share of each native cell that lies in each cell of the mosaic."""
    edges = torch.arange(length + 1, dtype=torch.float64) * n / length
    lower = torch.arange(n, dtype=torch.float64)[:, None]
    # Both in units of one cell of the mosaic: what is left of a native cell after clipping lies inside.
    clipped = edges.clamp(lower, lower + 1)
    return clipped.diff(dim=1) * length / n


METRIC = Metric(
    "gridpg", "GridPG", "Böhle 2021, arXiv:2104.00032", "mosaics", "Localisation", None,
    headline=True, breaks_ties=True,
)  # fmt: skip
