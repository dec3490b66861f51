"""Metrics of maps: one small file each, pure functions of tensors.

Where not said otherwise inputs are (N, C, H, W) normalised, maps L (N, H, W) in [0, 1] at the size of the inputs (the
relu of the native map, scaled to [0, 1] and upsampled), classes (N,) int64, seeds one integer an image, and results one
value an image, NaN where it is not defined. A :class:`~camcli.metrics.scoring.Scorer` gives class probabilities of
altered inputs; no more than a batch of them exists at a time.

``registry``   all metrics by key, and how to add one
``base``       what describes a metric, and what it is computed from
``scoring`` ``masking`` ``curve`` ``substrate`` ``blur`` ``order`` ``impute``   what several metrics share
``baselines``  model-independent baselines: maps that every figure is compared with
"""

from camcli.metrics.base import Images, Metric, Sample
from camcli.metrics.registry import METRICS, find_metrics

__all__ = ["METRICS", "Images", "Metric", "Sample", "find_metrics"]
