"""The last layer of each stage of a network, for methods that look at several layers."""

from collections import Counter
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


@torch.no_grad()
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
    finished: dict[str, Grid] = {}
    calls: Counter[str] = Counter()

    def note_grid(path: str, output: Any) -> None:
        calls[path] += 1
        tensor = main_tensor(output)
        if tensor is not None and tensor.ndim == 4 and len(tensor) == len(inputs):  # not the windows of attention
            finished.pop(path, None)  # a module that runs twice counts where it runs last
            height, width = tensor.shape[2:] if layer.layout.kind == "nchw" else tensor.shape[1:3]
            finished[path] = (int(height), int(width))

    paths = [*(path for path, _ in forward.module.named_modules()), layer.path]
    with hook_calls(forward.module, paths, note_grid):
        forward(inputs)
    order = list(finished)
    before = {path: finished[path] for path in order[: order.index(layer.path) + 1]}
    coarsest, finest = layer.layout.grid, _finest(inputs)
    last = {  # of several with one grid the later one stays
        grid: path
        for path, grid in before.items()
        if coarsest < grid <= finest
        and _has_same_sides(grid, coarsest)
        and calls[path] == 1
        and not _leads_on(path, grid, finished, coarsest)
    }
    stages = [Stage(path, Layout(layer.layout.kind, grid)) for grid, path in sorted(last.items(), reverse=True)]
    return (*stages, layer)


def _has_same_sides(grid: Grid, coarsest: Grid) -> bool:
    """Whether the sides have the ratio of the coarsest grid's, about: a matrix of attention has other ones."""
    one, other = grid[0] * coarsest[1], grid[1] * coarsest[0]
    return abs(one - other) <= 0.25 * max(one, other)


def _finest(inputs: Tensor) -> Grid:
    height, width = inputs.shape[2:]
    return height // _SHALLOWEST, width // _SHALLOWEST


def _leads_on(path: str, grid: Grid, finished: dict[str, Grid], coarsest: Grid) -> bool:
    """Whether a module around this one does nothing but lead from its grid to a coarser one."""
    parts = path.split(".")
    for depth in range(1, len(parts)):
        around = ".".join(parts[:depth])
        inside = {g for p, g in finished.items() if p == around or p.startswith(around + ".")}
        grids = {g for g in inside if g >= coarsest}
        if finished.get(around, grid) < grid and len(grids) <= 2:
            return True
    return False
