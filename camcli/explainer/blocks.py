"""The blocks of a network at chosen strides, for methods that look at several layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor, nn

from camcli.capture import Forward
from camcli.errors import MethodError
from camcli.explainer.options import TargetLayer
from camcli.explainer.stages import Grid, GridRecord, Stage, record_grids, stages_of
from camcli.layers.layout import Layout
from camcli.methods.base import LayerChoice

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_FEWEST = 2  # with fewer grids than this at the strides asked for, other ones of the network are taken


def find_blocks_at(
    forward: Forward, layer: TargetLayer, inputs: Tensor, choice: LayerChoice
) -> tuple[TargetLayer, ...]:
    """The last block at each of the strides, in the order of the pass; the layer itself where there are no blocks.

    Blocks are modules of one class, side by side in a container, that return the same grid. Of a network with fewer
    than two of the strides the coarsest grids are taken, and of one with a single grid the blocks at several depths.

    Args:
        forward: runs the module.
        layer: the deepest one; no block behind it is taken.
        inputs: (1, C, H, W).
        choice: the strides.

    Raises:
        MethodError: a stride that must exist, and that no block has.
    """
    record = record_grids(forward, layer, inputs)
    stages = stages_of(record, layer) if layer.layout.kind != "tokens" else (layer,)
    finder = _Finder(forward.module, record, layer, stages)
    if len(stages) == 1:
        blocks = finder.blocks_of(layer.layout.grid)
        chosen = [_at_share(blocks, depth) for depth in choice.depths]
    else:
        chosen = finder.at_strides(choice.strides, choice.must_exist)
    order = list(record.finished)
    paths = sorted(dict.fromkeys(chosen), key=order.index)
    return tuple(layer if path == layer.path else Stage(path, finder.layout_of(path)) for path in paths)


def _at_share(blocks: Sequence[str], share: float) -> str:
    """The block at a share of the depth, from just above 0 to 1, the last one."""
    return blocks[max(1, round(share * len(blocks))) - 1]


class _Finder:
    def __init__(
        self, module: nn.Module, record: GridRecord, layer: TargetLayer, stages: Sequence[TargetLayer]
    ) -> None:
        self.module, self.record, self.layer, self.stages = module, record, layer, stages
        self.until = record.until(layer)

    def layout_of(self, path: str) -> Layout:
        own = self.layer.layout
        return own if own.kind == "tokens" else Layout(own.kind, self.record.finished[path])

    def at_strides(self, strides: Sequence[int], must_exist: bool) -> list[str]:
        by_stride = {self._stride(stage.layout.grid): stage.layout.grid for stage in self.stages}
        asked = [stride for stride in strides if stride in by_stride]
        missing = [str(stride) for stride in strides if stride not in by_stride]
        if must_exist and missing:
            listed = ", ".join(map(str, sorted(by_stride)))
            raise MethodError(
                f"layers={':'.join(map(str, strides))}: no block up to {self.layer.path} has stride "
                f"{', '.join(dict.fromkeys(missing))}; there are {listed}."
            )
        if not must_exist and len(set(asked)) < _FEWEST:
            asked = sorted(by_stride)[-len(strides) :]
        chosen = []
        for stride in dict.fromkeys(asked):
            blocks, times = self.blocks_of(by_stride[stride]), asked.count(stride)
            chosen += [_at_share(blocks, (i + 1) / times) for i in range(times)]
        return chosen

    def blocks_of(self, grid: Grid) -> list[str]:
        """The blocks that return this grid, in the order of the pass; the last one ends the stage."""
        if len(self.stages) == 1:
            return self._largest_family(grid, "") or [self.layer.path]
        last = self._last(grid)
        beside = self._beside(last, grid)
        if len(beside) > 1:
            return beside
        inside = self._largest_family(grid, last + ".")
        if inside:
            return [*inside[:-1], last]  # the module around the last block has the same output, and perhaps a norm
        return [*(path for path in self._largest_family(grid, "") if path != last), last]

    def _stride(self, grid: Grid) -> int:
        """The nearest power of two: of 240 pixels 8 cells are left at stride 32, without padding 8 of 299."""
        return int(2 ** round(math.log2(self.record.inputs[0] / grid[0])))

    def _last(self, grid: Grid) -> str:
        """The last block of a stage; of the deepest, the last that is of the kind of the finer stages' blocks."""
        stage = next(stage for stage in self.stages if stage.layout.grid == grid)
        if stage is not self.stages[-1]:
            return stage.path
        for finer in reversed(self.stages[:-1]):
            alike = [
                path
                for path, own in self.until.items()
                if own == grid and self._family(path) == self._family(finer.path)
            ]
            if alike:
                return alike[-1]
        return stage.path

    def _beside(self, path: str, grid: Grid) -> list[str]:
        """The modules of the same class beside one, with the same grid, up to it."""
        return [
            other
            for other in self._until(path)
            if self.until[other] == grid and self._family(other) == self._family(path)
        ]

    def _largest_family(self, grid: Grid, prefix: str) -> list[str]:
        """Of the most modules of one class in one container with this grid, those up to the layer.

        Of equally many those of the outer container; none where a module is alone.
        """
        families: dict[tuple[str, type[nn.Module]], list[str]] = defaultdict(list)
        for path, own in self.record.finished.items():
            family = self._family(path)
            if (
                own == grid
                and path.startswith(prefix)
                and isinstance(self.module.get_submodule(family[0]), _CONTAINERS)
            ):
                families[family].append(path)
        several = [family for family in families.values() if len(family) > 1]
        largest = max(several, key=lambda family: (len(family), -family[0].count(".")), default=[])
        return [path for path in largest if path in self.until]

    def _until(self, path: str) -> list[str]:
        paths = list(self.until)
        return paths[: paths.index(path) + 1]

    def _family(self, path: str) -> tuple[str, type[nn.Module]]:
        base = path.partition("@")[0]
        return base.rpartition(".")[0], type(self.module.get_submodule(base))
