"""The last layer of each stage of a network, for methods that look at several layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture import Forward
from camcli.explainer.options import Target
from camcli.layers.layout import Layout
from camcli.layers.structure import main_tensor

_SHALLOWEST = 4  # the stem and its stride of 2 are no stage


@dataclass(frozen=True)
class Stage:
    """A layer found rather than named."""

    path: str
    layout: Layout


@torch.no_grad()
def find_stages(forward: Forward, layer: Target, inputs: Tensor) -> tuple[Target, ...]:
    """For each grid finer than the layer's, the module that returns it last, outermost first; then the layer itself.

    Args:
        forward: runs the module.
        layer: the deepest one, whose layout is not ``tokens`` (a transformer has one grid all through).
        inputs: (1, C, H, W).
    """
    if layer.layout.kind == "tokens":
        return (layer,)
    found: dict[tuple[int, int], tuple[int, str]] = {}
    done: list[str] = []

    def look(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            tensor = main_tensor(output)
            if layer.path in done or tensor is None or tensor.ndim != 4:
                return
            done.append(path)
            height, width = tensor.shape[2:] if layer.layout.kind == "nchw" else tensor.shape[1:3]
            grid = (int(height), int(width))
            depth = path.count(".")
            if depth <= found.get(grid, (depth, ""))[0]:
                found[grid] = (depth, path)

        return hook

    with ExitStack() as hooks:
        for path, part in forward.module.named_modules():
            if path:
                hooks.callback(part.register_forward_hook(look(path)).remove)
        forward(inputs)
    height, width = inputs.shape[2:]
    finer = {
        grid: path
        for grid, (_, path) in found.items()
        if layer.layout.grid[0] < grid[0] <= height // _SHALLOWEST and grid[1] <= width // _SHALLOWEST
    }
    stages = [Stage(path, Layout(layer.layout.kind, grid)) for grid, path in sorted(finer.items(), reverse=True)]
    return (*stages, layer)
