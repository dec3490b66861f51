"""Average Increase, of the probability under the mask of the map; see :mod:`camcli.metrics.masking`."""

from __future__ import annotations

from torch import Tensor

from camcli.metrics.base import Metric, Sample


def average_increase(y: Tensor, o: Tensor) -> Tensor:
    """1 where O > Y, else 0; higher is better (Chattopadhyay 2018, arXiv:1710.11063)."""
    return (o > y).float()


def increase(sample: Sample) -> Tensor:
    """:func:`average_increase` of a sample, (N,)."""
    return average_increase(sample.images.probabilities, sample.masked_probabilities)


METRIC = Metric(
    "increase", "Average Increase %", "Chattopadhyay 2018, arXiv:1710.11063", "scores", "Masking", increase, factor=100,
)  # fmt: skip
