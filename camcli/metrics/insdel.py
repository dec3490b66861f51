"""Insertion − Deletion: one figure of both curves."""

from typing import Any

from torch import Tensor

from camcli.metrics import deletion, insertion
from camcli.metrics.base import Metric, Sample


def insertion_minus_deletion(sample: Sample) -> Tensor:
    """The area under the insertion curve minus that under the deletion curve, (N,) in [−1, 1]; higher is better."""
    return sample.once(insertion.area) - sample.once(deletion.area)


def settings(height: int, width: int, substrate: str | None) -> dict[str, Any]:
    """Those of both curves."""
    return {**deletion.settings(height, width, substrate), **insertion.settings(height, width, substrate)}


METRIC = Metric(
    "ins-del", "Insertion − Deletion", "Petsiuk 2018, arXiv:1806.07421", "scores", "Perturbation curves",
    insertion_minus_deletion, headline=True, settings=settings,
)  # fmt: skip
