"""The values of metrics for a batch of images and the maps of one entry of the table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camcli.images import Size
from camcli.images.regions import pixels_of_region
from camcli.metrics import METRICS, Metric, Sample
from camcli.metrics.base import Exclusion
from camcli.pipeline.items import Loaded

Values = dict[str, np.ndarray]
"""By key of the metric: (N, K) per image, NaN where it is not defined."""


def measure(metrics: Sequence[Metric], sample: Sample) -> Values:
    """The values of all metrics that the sample has what they need for."""
    values = {}
    for metric in metrics:
        if metric.measure is not None and (metric.needs != "regions" or sample.images.regions is not None):
            array = sample.once(metric.measure).cpu().double().numpy()
            values[metric.key] = array.reshape(len(array), -1)
    return values


def exclusions(metrics: Sequence[Metric]) -> dict[str, Exclusion]:
    """By key: which images do not enter the metrics of the groups of these ones."""
    groups = {metric.group for metric in metrics}
    return {m.key: m.exclusion for m in METRICS.values() if m.exclusion is not None and m.group in groups}


def parameters(height: int, width: int, substrate: str | None = None) -> Mapping[str, Any]:
    """The parameters of all metrics for inputs of a size and the substrate that was asked for."""
    settings = (metric.settings(height, width, substrate) for metric in METRICS.values() if metric.settings is not None)
    return {name: value for own in settings for name, value in own.items()}


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
