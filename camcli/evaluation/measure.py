"""The values of metrics for a batch of images and the maps of one row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camcli.metrics import METRICS, Metric, Sample
from camcli.metrics.base import Exclusion

Values = dict[str, np.ndarray]
"""By key of the metric: (N, K) per image, NaN where it is not defined."""


def measure(metrics: Sequence[Metric], sample: Sample) -> Values:
    """The values of all metrics that the sample has what they need for."""
    values = {}
    for metric in metrics:
        if metric.measure is not None and (metric.needs != "regions" or sample.images.regions is not None):
            array = sample.once(metric.measure).double().cpu().numpy()
            values[metric.key] = array.reshape(len(array), -1)
    return values


def exclusions(metrics: Sequence[Metric]) -> dict[str, Exclusion]:
    """By key: which images do not enter the metrics of the groups of these ones."""
    groups = {metric.group for metric in metrics}
    return {m.key: m.exclusion for m in METRICS.values() if m.exclusion is not None and m.group in groups}


def parameters(height: int, width: int) -> Mapping[str, Any]:
    """The parameters of all metrics for inputs of a size."""
    settings: dict[str, Any] = {}
    for metric in METRICS.values():
        if metric.settings is not None:
            settings.update(metric.settings(height, width))
    return settings
