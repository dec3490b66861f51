"""The rows of the table: methods at layers, and baselines; and how the map of each is made for other inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from camcli.device import BatchLimit
from camcli.explainer import Explainer
from camcli.map_summary import map_status
from camcli.methods import find_method
from camcli.metrics.baselines import BASELINES, baseline
from camcli.pipeline.items import Explanation
from camcli.pipeline.setup import Setup, explain_options
from camcli.render import normalise

LayerPath = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        method: key of a method or of a baseline.
        layer: where a method was applied; None for baselines and methods of the whole network.
        baseline: whether it is a model-independent baseline.
        name: what it is called in the table: the method, with the layer where there are several.
    """

    method: str
    layer: LayerPath
    baseline: bool
    name: str


def rows_of(explanation: Explanation, several_layers: bool, baselines: bool) -> list[Row]:
    """The rows of a run, methods first."""
    rows = []
    for found in explanation.maps:
        path = "+".join(found.layer) if isinstance(found.layer, tuple) else found.layer
        named = path is not None and several_layers and not isinstance(found.layer, tuple)
        rows.append(Row(found.method, found.layer, False, f"{found.method} @ {path}" if named else found.method))
    return rows + ([Row(key, None, True, key) for key in BASELINES] if baselines else [])


@dataclass(frozen=True)
class Maps:
    """The maps of one row for a batch.

    Attributes:
        native: (N, h, w) float32, raw, on the CPU.
        heat: L, (N, H, W) in [0, 1], on the model's device.
        degenerate: (N,) whether a map shows nothing.
    """

    native: Tensor
    heat: Tensor
    degenerate: np.ndarray


def upsampled(native: Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """L as it is drawn: relu, min-max, bilinear; (N, h, w) raw → (N, H, W) in [0, 1]."""
    height, width = size
    heats = [cv2.resize(normalise(raw), (width, height), interpolation=cv2.INTER_LINEAR) for raw in native.numpy()]
    return torch.from_numpy(np.stack(heats)).to(device)


class Maker:
    """Makes maps.

    Args:
        setup: of the run.

    Attributes:
        limit: images that go through the model at once.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.limit = setup, BatchLimit(setup.batch_size)
        self.grid = setup.layers[0].layout.grid
        self._explainers: dict[Row, Explainer] = {}

    def own(self, row: Row, explanations: Sequence[Explanation], inputs: Tensor, seeds: Sequence[int]) -> Maps:
        """The maps that a run made, or the baseline's."""
        if row.baseline:
            return self._maps(self._baseline(row, inputs, seeds), inputs)
        raws = [
            next(found.raw for found in explanation.maps if (found.method, found.layer) == (row.method, row.layer))
            for explanation in explanations
        ]
        return self._maps(torch.from_numpy(np.stack(raws)), inputs)

    def again(self, row: Row, inputs: Tensor, classes: Tensor, seeds: Sequence[int]) -> Maps:
        """The maps of the same row for other inputs and given classes."""
        if row.baseline:
            return self._maps(self._baseline(row, inputs, seeds), inputs)
        explainer, chosen = self._explainer(row), classes[:, None].cpu()

        def explained(part: slice) -> Tensor:
            maps = explainer(inputs[part], lambda _: chosen[part], seeds[part]).maps
            return next(raw for key, raw in maps.items() if key.layer == row.layer)

        return self._maps(torch.cat(list(self.limit.run(len(inputs), explained))), inputs)

    def _explainer(self, row: Row) -> Explainer:
        """One method alone, so that a second look costs no more than it must."""
        if row not in self._explainers:
            setup = self.setup
            own = [text for text in setup.config.option if find_method(text.partition(".")[0]).key == row.method]
            options = replace(explain_options(setup.config, setup.precision), method_options=own)
            layers = [layer for layer in setup.layers if row.layer == layer.path] or setup.layers
            self._explainers[row] = Explainer(setup.model, layers, [row.method], options)
        return self._explainers[row]

    def _baseline(self, row: Row, inputs: Tensor, seeds: Sequence[int]) -> Tensor:
        return baseline(row.method, inputs, self.grid, seeds).cpu()

    def _maps(self, native: Tensor, inputs: Tensor) -> Maps:
        size = inputs.shape[-2], inputs.shape[-1]
        degenerate = np.array([map_status(raw) != "ok" for raw in native.numpy()])
        return Maps(native, upsampled(native, size, inputs.device), degenerate)


def on_grid(native: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map as coarse as the layer's grid, by area: baselines at the size of the input are compared like this."""
    if native.shape[-2] <= grid[0]:
        return native
    return torch.nn.functional.adaptive_avg_pool2d(native[:, None], grid)[:, 0]
