"""The entries of the table: methods at layers, and baselines; and how the map of each is made for other inputs."""

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
from camcli.pipeline.setup import Setup
from camcli.render import normalise

LayerPath = str | tuple[str, ...] | None


@dataclass(frozen=True)
class MethodEntry:
    """A method at a layer, or a baseline: one row of the printed table.

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

    @property
    def layer_path(self) -> str | None:
        """The layer, several fused ones joined by ``+``."""
        return "+".join(self.layer) if isinstance(self.layer, tuple) else self.layer


def entries_of(explanation: Explanation, several_layers: bool, baselines: bool) -> list[MethodEntry]:
    """The entries of a run, methods first."""
    entries = []
    for class_map in explanation.maps:
        method, layer = class_map.method, class_map.layer
        is_named = several_layers and isinstance(layer, str)  # a fused map is the only one of its method
        entries.append(MethodEntry(method, layer, False, f"{method} @ {layer}" if is_named else method))
    return entries + ([MethodEntry(key, None, True, key) for key in BASELINES] if baselines else [])


@dataclass(frozen=True)
class Maps:
    """The maps of one entry for a batch.

    Attributes:
        native: (N, h, w) float32, raw, on the CPU.
        heat: L, (N, H, W) in [0, 1], on the model's device.
        degenerate: (N,) whether a map shows nothing.
    """

    native: Tensor
    heat: Tensor
    degenerate: np.ndarray


def upsample(native: Tensor, size: tuple[int, int], device: torch.device) -> Tensor:
    """L as it is drawn: relu, min-max, bilinear; (N, h, w) raw → (N, H, W) in [0, 1]."""
    height, width = size
    heats = [cv2.resize(normalise(raw), (width, height), interpolation=cv2.INTER_LINEAR) for raw in native.numpy()]
    return torch.from_numpy(np.stack(heats)).to(device)


class MapMaker:
    """Makes maps.

    Args:
        setup: of the run.

    Attributes:
        limit: images that go through the model at once.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup, self.limit = setup, BatchLimit(setup.batch_size)
        self.grid = setup.layers[0].layout.grid
        self._explainers: dict[MethodEntry, Explainer] = {}

    def run_maps(
        self, entry: MethodEntry, explanations: Sequence[Explanation], inputs: Tensor, seeds: Sequence[int]
    ) -> Maps:
        """The maps that a run made, or the baseline's."""
        if entry.baseline:
            return self._maps(self._baseline(entry, inputs, seeds), inputs)
        raws = [
            next(one.raw for one in explanation.maps if (one.method, one.layer) == (entry.method, entry.layer))
            for explanation in explanations
        ]
        return self._maps(torch.from_numpy(np.stack(raws)), inputs)

    def maps_of(self, entry: MethodEntry, inputs: Tensor, classes: Tensor, seeds: Sequence[int]) -> Maps:
        """The maps of the same entry for other inputs and given classes."""
        return self._maps(self.native_of(entry, inputs, classes, seeds), inputs)

    def native_of(self, entry: MethodEntry, inputs: Tensor, classes: Tensor, seeds: Sequence[int]) -> Tensor:
        """The same as (N, h, w) float32, raw, on the CPU."""
        if entry.baseline:
            return self._baseline(entry, inputs, seeds)
        explainer, chosen = self._explainer(entry), classes[:, None]

        def explained(part: slice) -> Tensor:
            maps = explainer(inputs[part], lambda _: chosen[part], seeds[part]).maps
            return next(raw.cpu() for key, raw in maps.items() if key.layer == entry.layer)

        return torch.cat(list(self.limit.run(len(inputs), explained)))

    def _explainer(self, entry: MethodEntry) -> Explainer:
        """One method alone, so that the maps of other inputs cost no more than necessary."""
        if entry not in self._explainers:
            setup = self.setup
            own = [text for text in setup.config.option if find_method(text.partition(".")[0]).key == entry.method]
            options = replace(setup.explain_options, method_options=own)
            layers = [layer for layer in setup.layers if entry.layer == layer.path] or setup.layers
            self._explainers[entry] = Explainer(setup.model, layers, [entry.method], options)
        return self._explainers[entry]

    def _baseline(self, entry: MethodEntry, inputs: Tensor, seeds: Sequence[int]) -> Tensor:
        return baseline(entry.method, inputs, self.grid, seeds).cpu()

    def _maps(self, native: Tensor, inputs: Tensor) -> Maps:
        size = inputs.shape[-2], inputs.shape[-1]
        degenerate = np.array([map_status(raw) != "ok" for raw in native.numpy()])
        return Maps(native, upsample(native, size, inputs.device), degenerate)


def on_grid(native: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map as coarse as the layer's grid, by area: baselines at the size of the input are compared like this."""
    if native.shape[-2] <= grid[0]:
        return native
    return torch.nn.functional.adaptive_avg_pool2d(native[:, None], grid)[:, 0]
