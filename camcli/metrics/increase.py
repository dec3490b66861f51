"""Average Increase, of the probability under the mask of the map; see :mod:`camcli.metrics.masking`."""

from torch import Tensor

from camcli.metrics.base import Metric


def average_increase(y: Tensor, o: Tensor) -> Tensor:
    """1 where O > Y, else 0; higher is better (Chattopadhyay 2018, arXiv:1710.11063)."""
    return (o > y).float()


METRIC = Metric(
    "increase", "Average Increase %", "Chattopadhyay 2018, arXiv:1710.11063", "scores", "Masking",
    lambda sample: average_increase(sample.images.probabilities, sample.masked_probabilities), factor=100,
)  # fmt: skip
