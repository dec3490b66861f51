"""Average Gain, of the probability under the mask of the map; see :mod:`camcli.metrics.masking`."""

import torch
from torch import Tensor

from camcli.metrics.base import Exclusion, Metric
from camcli.metrics.masking import EDGE


def average_gain(y: Tensor, o: Tensor) -> Tensor:
    """relu(O − Y) / (1 − Y) in [0, 1], higher is better; NaN where Y > 1 − 1e-6 (Zhang 2023, arXiv:2301.07002)."""
    return torch.where(y > 1 - EDGE, torch.nan, torch.relu(o - y) / (1 - y).clamp(min=EDGE))


METRIC = Metric(
    "gain", "Average Gain %", "Zhang 2023, arXiv:2301.07002", "scores", "Masking",
    lambda sample: average_gain(sample.images.probabilities, sample.masked_probabilities), factor=100,
    exclusion=Exclusion(lambda y: y > 1 - EDGE, f"with a probability above 1 − {EDGE:g} leave Average Gain"),
)  # fmt: skip
