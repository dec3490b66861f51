"""GridPG of a run: mosaics of the user's own images, as the model can take them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from camcli.capture import noise
from camcli.errors import CamError, is_out_of_memory
from camcli.evaluation.entries import MethodEntry
from camcli.explainer import Explainer
from camcli.images import Preprocessing, to_input
from camcli.metrics.baselines import baseline
from camcli.metrics.gridpg import choose_mosaics, grid_pointing, mosaic
from camcli.models import Model
from camcli.pipeline.items import Explanation, seed_of
from camcli.pipeline.setup import Setup

MOST = 64
"""Mosaics at most: their images are kept until the end."""


@dataclass
class Candidates:
    """Images that may go into mosaics: those whose class the model is sure of.

    Attributes:
        n: images a side.
        probability: least probability of the top class.
    """

    n: int
    probability: float
    pixels: list[np.ndarray] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)

    def offer(self, explanation: Explanation) -> None:
        """Keep an image if it will do and there is room."""
        best = int(explanation.probabilities.argmax())
        if explanation.probabilities[best] >= self.probability and len(self.pixels) < MOST * self.n**2:
            self.pixels.append(explanation.loaded.pixels)
            self.classes.append(best)


@dataclass(frozen=True)
class MosaicResult:
    """What came of it.

    Attributes:
        values: (mosaics, 1) by name of the entry.
        mosaics: how many were made.
        shrunk: why the cells were shrunk to fit into the model's input; None where they were not.
        missing: why there are none; None where there are some.
    """

    values: dict[str, np.ndarray]
    mosaics: int
    shrunk: str | None = None
    missing: str | None = None


def measure_mosaics(setup: Setup, entries: Sequence[MethodEntry], candidates: Candidates) -> MosaicResult:
    """GridPG of every entry: one value a mosaic, the mean over its classes."""
    n = candidates.n
    groups = choose_mosaics(candidates.classes, n, MOST, setup.config.seed)
    if not groups:
        distinct = len(set(candidates.classes))
        return MosaicResult({}, 0, missing=(
            f"GridPG needs {n * n} images of different classes that the model gives at least "
            f"{candidates.probability:g}; {len(candidates.classes)} image(s) of {distinct} class(es) have that; "
            "--grid-probability lowers it"
        ))  # fmt: skip
    explainer, size, shrunk = _explainer(setup, n)
    grid = setup.layers[0].layout.grid
    if size is None:
        grid = grid[0] * n, grid[1] * n
    values: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for number, group in enumerate(groups):
        cells = to_input([candidates.pixels[i] for i in group], setup.model.preprocessing, setup.device)
        inputs = mosaic(cells, n, size)
        seeds = [seed_of(f"mosaic {number}", setup.config.seed)]
        classes = torch.tensor([[candidates.classes[i] for i in group]])
        explained = explainer(inputs, lambda _, classes=classes: classes, seeds)  # type: ignore[misc]
        for entry in entries:
            if entry.baseline:
                maps = baseline(entry.method, inputs, grid, seeds).expand(n * n, -1, -1)
            else:
                own = (m for key, m in explained.maps.items() if (key.method, key.layer) == (entry.method, entry.layer))
                maps = torch.cat(list(own))
            shares = grid_pointing(maps.cpu(), n)
            values[entry.name].append(float(shares.nanmean()))
    return MosaicResult({name: np.array(shares)[:, None] for name, shares in values.items()}, len(groups), shrunk)


def _explainer(setup: Setup, n: int) -> tuple[Explainer, tuple[int, int] | None, str | None]:
    """An explainer of whole mosaics; failing that the run's own, the size to shrink to, and why."""
    pre = setup.model.preprocessing
    own = pre.height, pre.width
    if any(layer.layout.kind == "tokens" for layer in setup.layers):
        return setup.explainer, own, "the target layer is a sequence of tokens of fixed length"
    large = Preprocessing(pre.channels, n * pre.height, n * pre.width, pre.mean, pre.std)
    layers = [
        dataclasses.replace(layer, layout=dataclasses.replace(layer.layout, grid=_times(layer.layout.grid, n)))
        for layer in setup.layers
    ]
    options = setup.explain_options
    model: Model = dataclasses.replace(setup.model, preprocessing=large)
    try:
        explainer = Explainer(model, layers, setup.config.method, options)
        explainer(noise(large, 1, setup.device), lambda logits: torch.zeros(len(logits), 1, dtype=torch.int64), [0])
    except (CamError, RuntimeError, MemoryError, AssertionError, ValueError) as error:
        if is_out_of_memory(error):
            return setup.explainer, own, "memory ran out on a mosaic of whole images"
        # A model with an input of fixed size raises its own error; this cannot be decided beforehand.
        return setup.explainer, own, f"the model takes no other input size ({str(error).splitlines()[0]})"
    return explainer, None, None


def _times(grid: tuple[int, int], n: int) -> tuple[int, int]:
    return grid[0] * n, grid[1] * n
