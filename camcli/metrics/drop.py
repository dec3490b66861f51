"""Average Drop, of the probability under the mask of the map; see :mod:`camcli.metrics.masking`."""

import torch
from torch import Tensor

from camcli.metrics.base import Exclusion, Metric, Sample
from camcli.metrics.masking import EDGE


def average_drop(y: Tensor, o: Tensor) -> Tensor:
    """relu(Y − O) / Y in [0, 1], lower is better; NaN where Y < 1e-6 (Chattopadhyay 2018, arXiv:1710.11063)."""
    return torch.where(y < EDGE, torch.nan, torch.relu(y - o) / y.clamp(min=EDGE))


def drop(sample: Sample) -> Tensor:
    """:func:`average_drop` of a sample, (N,)."""
    return average_drop(sample.images.probabilities, sample.masked_probabilities)


METRIC = Metric(
    "drop", "Average Drop %", "Chattopadhyay 2018, arXiv:1710.11063", "scores", "Masking", drop, factor=100,
    better="lower", led_by="fakecam",
    exclusion=Exclusion(lambda y: y < EDGE, f"with a probability below {EDGE:g} leave Average Drop"),
)  # fmt: skip
