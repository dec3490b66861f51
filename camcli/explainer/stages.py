"""The last layer of each stage of a network, for methods that look at several layers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camcli.capture import Forward
from camcli.capture.hooks import hook_calls
from camcli.capture.outputs import main_tensor
from camcli.explainer.options import TargetLayer
from camcli.layers.layout import Layout

_SHALLOWEST = 4  # the stem and its stride of 2 are no stage


Grid = tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """A target layer that the user did not name."""

    path: str
    layout: Layout


@dataclass(frozen=True)
class GridRecord:
    """The grids of one pass.

    Attributes:
        finished: of every module with a spatial output, in the order in which they return.
        calls: how often each module runs.
        inputs: height and width.
    """

    finished: Mapping[str, Grid]
    calls: Mapping[str, int]
    inputs: Grid

    def until(self, layer: TargetLayer) -> dict[str, Grid]:
        """Those of the modules that run once and return no later than the layer."""
        order = list(self.finished)
        before = order[: order.index(layer.path) + 1]
        return {path: self.finished[path] for path in before if self.calls[path] == 1 or path == layer.path}


@torch.no_grad()
def record_grids(forward: Forward, layer: TargetLayer, inputs: Tensor) -> GridRecord:
    """The grids of all modules whose output has the layer's kind of layout.

    Args:
        forward: runs the module.
        layer: gives the layout.
        inputs: (1, C, H, W).
    """
    finished: dict[str, Grid] = {}
    calls: Counter[str] = Counter()

    def note_grid(path: str, output: Any) -> None:
        calls[path] += 1
        tensor = main_tensor(output)
        grid = _grid_of(tensor, layer.layout) if tensor is not None and len(tensor) == len(inputs) else None
        if grid is not None:
            finished.pop(path, None)  # a module that runs twice counts where it runs last
            finished[path] = grid

    paths = [*(path for path, _ in forward.module.named_modules()), layer.path]
    with hook_calls(forward.module, paths, note_grid):
        forward(inputs)
    return GridRecord(finished, calls, (inputs.shape[2], inputs.shape[3]))


def _grid_of(tensor: Tensor, layout: Layout) -> Grid | None:
    if layout.kind == "tokens":
        return layout.grid if layout.fits(tuple(tensor.shape)) else None
    if tensor.ndim != 4:
        return None
    height, width = tensor.shape[2:] if layout.kind == "nchw" else tensor.shape[1:3]
    return int(height), int(width)


def find_stages(forward: Forward, layer: TargetLayer, inputs: Tensor) -> tuple[TargetLayer, ...]:
    """For each grid finer than the layer's, the module that returns it last; then the layer itself.

    What runs on a grid inside a block that leads to the next coarser one (the first convolution of a stage's first
    block) belongs to the stage behind, and does not count.

    Args:
        forward: runs the module.
        layer: the deepest one, whose layout is not ``tokens`` (a transformer has one grid all through).
        inputs: (1, C, H, W).
    """
    if layer.layout.kind == "tokens":
        return (layer,)
    return stages_of(record_grids(forward, layer, inputs), layer)


def stages_of(record: GridRecord, layer: TargetLayer) -> tuple[TargetLayer, ...]:
    """See :func:`find_stages`; the layout is not ``tokens``."""
    coarsest, finest = layer.layout.grid, (record.inputs[0] // _SHALLOWEST, record.inputs[1] // _SHALLOWEST)
    last = {  # of several with one grid the later one stays
        grid: path
        for path, grid in record.until(layer).items()
        if coarsest < grid <= finest
        and _has_same_sides(grid, coarsest)
        and not _leads_on(path, grid, record.finished, coarsest)
    }
    stages = [Stage(path, Layout(layer.layout.kind, grid)) for grid, path in sorted(last.items(), reverse=True)]
    return (*stages, layer)


def _has_same_sides(grid: Grid, coarsest: Grid) -> bool:
    """Whether the sides have the ratio of the coarsest grid's, about: a matrix of attention has other ones."""
    one, other = grid[0] * coarsest[1], grid[1] * coarsest[0]
    return abs(one - other) <= 0.25 * max(one, other)


def _leads_on(path: str, grid: Grid, finished: Mapping[str, Grid], coarsest: Grid) -> bool:
    """Whether a module around this one does nothing but lead from its grid to a coarser one."""
    parts = path.split(".")
    for depth in range(1, len(parts)):
        around = ".".join(parts[:depth])
        inside = {g for p, g in finished.items() if p == around or p.startswith(around + ".")}
        grids = {g for g in inside if g >= coarsest}
        if finished.get(around, grid) < grid and len(grids) <= 2:
            return True
    return False
