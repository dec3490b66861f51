"""The method that all others are compared with, and the metric that they are compared by."""

from collections.abc import Mapping, Sequence

import numpy as np

from camcli.errors import ConfigError
from camcli.evaluation.entries import MethodEntry
from camcli.methods import find_method
from camcli.metrics import Metric

USUAL = "gradcam"
"""The reference where none is named and it is among the methods."""


def require_reference(asked: str | None, methods: Sequence[str]) -> None:
    """Check that the reference is evaluated.

    Raises:
        UsageError: an unknown method, or one that is not among ``methods``.
    """
    if asked is not None and find_method(asked).key not in [find_method(method).key for method in methods]:
        listed = ",".join(methods)
        raise ConfigError(
            f"--reference {asked}: not among the methods that are evaluated. Add it: --method {listed},{asked}."
        )


def reference_of(entries: Sequence[MethodEntry], asked: str | None) -> MethodEntry:
    """The first entry of the method that was asked for; else of Grad-CAM, else the first entry."""
    key = USUAL if asked is None else find_method(asked).key
    return next((entry for entry in entries if entry.method == key and not entry.baseline), entries[0])


def leading_metric(metrics: Sequence[Metric]) -> Metric | None:
    """The metric that methods are compared by first; None where no metric judges."""
    judging = [metric for metric in metrics if metric.better != "neither"]
    return next((metric for metric in judging if metric.headline), judging[0] if judging else None)


def figures_so_far(
    metrics: Sequence[Metric], entries: Sequence[MethodEntry], parts: Mapping[str, Mapping[str, Sequence[np.ndarray]]]
) -> str:
    """The methods' means of the leading metric over the images that are done, best first; empty where there are none.

    Args:
        metrics: of the evaluation; those that compare rows or take several numbers an image are passed over.
        entries: of the table.
        parts: values of batches, (N, K), by entry name and metric.
    """
    first = parts[entries[0].name]
    single = [m for m in metrics if m.across_rows is None and all(part.shape[1] == 1 for part in first[m.key])]
    metric = leading_metric(single)
    if metric is None:
        return ""
    means = {}
    for entry in entries:
        values = np.concatenate(parts[entry.name][metric.key])
        if not entry.baseline and not np.isnan(values).all():
            means[entry.name] = metric.factor * float(np.nanmean(values))
    ordered = sorted(means, key=lambda name: means[name], reverse=metric.better == "higher")
    listed = ", ".join(f"{name} {means[name]:.{metric.decimals}f}" for name in ordered)
    return f"{metric.name} so far: {listed}".replace(" -", " −") if listed else ""
