"""One batch of images, one row of the table: the values of all metrics that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camcli import metrics
from camcli.evaluation.rows import Maps, on_grid
from camcli.images import Size
from camcli.images.regions import pixels_of_region
from camcli.metrics.scoring import score_all
from camcli.pipeline.items import Loaded

Values = dict[str, np.ndarray]
"""By key of the metric: (N, K) per image, NaN where it is not defined."""

MASKED = frozenset({"drop", "increase", "gain", "win", "adcc"})
_CURVES = frozenset({"deletion", "insertion", "ins-del"})


@dataclass(frozen=True)
class Sample:
    """A batch of images with what all rows share.

    Attributes:
        inputs: x, (N, C, H, W) normalised, on the model's device.
        classes: (N,) int64, the explained classes.
        seeds: one an image.
        blurred: start of the insertion curves.
        y: p_c(x), (N,).
        blank: p_c(0), (N,).
        start: p_c of the blurred images, (N,).
        regions: (N, H, W) bool, empty where an image has no box or mask; None where none has.
    """

    inputs: Tensor
    classes: Tensor
    seeds: Sequence[int]
    blurred: Tensor
    y: Tensor
    blank: Tensor
    start: Tensor
    regions: Tensor | None


@dataclass(frozen=True)
class Measuring:
    """Computes metrics.

    Attributes:
        scorer: gives class probabilities.
        keys: of the metrics.
        steps: of the curves.
        batch: inputs scored at once.
    """

    scorer: metrics.Scorer
    keys: Collection[str]
    steps: int
    batch: int

    def sample(self, inputs: Tensor, classes: Tensor, seeds: Sequence[int], regions: Tensor | None) -> Sample:
        """What all rows share, computed once."""
        blurred, unknown = inputs, torch.full(classes.shape, torch.nan, device=inputs.device)
        y = score_all(inputs, classes, self.scorer, self.batch)
        blank = start = unknown
        if _CURVES.intersection(self.keys):
            blurred = metrics.blur(inputs)
            blank = score_all(torch.zeros_like(inputs), classes, self.scorer, self.batch)
            start = score_all(blurred, classes, self.scorer, self.batch)
        return Sample(inputs, classes, seeds, blurred, y, blank, start, regions)

    def __call__(self, sample: Sample, maps: Maps, grid: tuple[int, int], again: Callable[[Tensor], Maps]) -> Values:
        """The values of one row.

        Args:
            sample: the images.
            maps: of the row.
            grid: to which maps at the size of the input are averaged before their form is measured.
            again: the row's maps for other inputs, for ADCC.
        """
        found = {**self._masked(sample, maps, again), **self._ranked(sample, maps), **self._placed(sample, maps)}
        native = on_grid(maps.native, grid)
        found |= {"sparsity": metrics.sparsity(native), "entropy": metrics.entropy(native)}
        return {key: _as_array(found[key]) for key in self.keys if key in found}

    def _masked(self, sample: Sample, maps: Maps, again: Callable[[Tensor], Maps]) -> dict[str, Tensor]:
        if not MASKED.intersection(self.keys):
            return {}
        o = metrics.masked_scores(sample.inputs, maps.heat, sample.classes, self.scorer, self.batch)
        drop = metrics.average_drop(sample.y, o)
        found = {"drop": drop, "win": drop}  # who wins is known when all rows are
        found["increase"] = metrics.average_increase(sample.y, o)
        found["gain"] = metrics.average_gain(sample.y, o)
        if "adcc" in self.keys:
            second = again(sample.inputs * maps.heat[:, None])
            found["adcc"] = metrics.adcc(drop, maps.heat, second.heat)
        return found

    def _ranked(self, sample: Sample, maps: Maps) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        x, heat, classes, seeds = sample.inputs, maps.heat, sample.classes, sample.seeds
        if _CURVES.intersection(self.keys):
            lost = metrics.deletion(
                x, heat, classes, self.scorer, seeds,
                steps=self.steps, ends=(sample.y, sample.blank), batch=self.batch,
            ).area  # fmt: skip
            gained = metrics.insertion(
                x, heat, classes, self.scorer, seeds,
                steps=self.steps, blurred=sample.blurred, ends=(sample.start, sample.y), batch=self.batch,
            ).area  # fmt: skip
            found |= {"deletion": lost, "insertion": gained, "ins-del": gained - lost}
        if "road" in self.keys:
            found["road"] = metrics.road(x, heat, classes, self.scorer, seeds, batch=self.batch).combined
        return found

    def _placed(self, sample: Sample, maps: Maps) -> dict[str, Tensor]:
        if sample.regions is None:
            return {}
        wanted = {"pointing": metrics.pointing, "energy": metrics.energy, "maxboxacc": metrics.box_hits}
        return {key: metric(maps.heat, sample.regions) for key, metric in wanted.items() if key in self.keys}


def regions_of(images: Sequence[Loaded], size: Size) -> Tensor | None:
    """The objects in the geometry of the inputs: (N, height, width) bool; None where no image has a box or mask.

    A mask beats a box. Empty where the model sees nothing of the object, or the image has no box and no mask.

    Raises:
        SourceError: a mask that cannot be read, or that has another shape than its image.
    """
    objects = [image.entry.mask or image.entry.box for image in images]
    if not any(objects):
        return None
    regions = np.zeros((len(images), *size), bool)
    for i, (image, region) in enumerate(zip(images, objects, strict=True)):
        if region is not None:
            regions[i] = pixels_of_region(region, (image.metadata.height, image.metadata.width), image.view, size)
    return torch.from_numpy(regions)


def _as_array(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.double().cpu().numpy()
    return array.reshape(len(array), -1)
