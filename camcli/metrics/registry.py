"""All metrics by key, in the order of the tables of ``cam eval``.

To add one:

1. ``camcli/metrics/<key>.py``: the metric as a function of tensors, and ``METRIC``, its description, whose ``measure``
   calls that function with what a :class:`~camcli.metrics.base.Sample` offers. What several metrics need and what costs
   passes through the model is a cached property there, or is asked for with :meth:`~camcli.metrics.base.Sample.once`.
   No other module names its key.
2. Here: its module, in the import and at its place in the table.
3. ``tests/metrics/test_registry.py``: in ``NAIVE`` the metric once more, in plain loops over single images.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from camcli.errors import ConfigError, did_you_mean
from camcli.metrics import (
    adcc,
    deletion,
    drop,
    energy,
    entropy,
    gain,
    gridpg,
    increase,
    insdel,
    insertion,
    maxboxacc,
    pointing,
    road,
    sparsity,
    win,
)
from camcli.metrics.base import Metric

_TABLE = (
    insdel, insertion, deletion, road,
    drop, increase, gain, win, adcc,
    gridpg, pointing, energy, maxboxacc,
    sparsity, entropy,
)  # fmt: skip

METRICS: Mapping[str, Metric] = MappingProxyType({module.METRIC.key: module.METRIC for module in _TABLE})
"""Read-only."""


def find_metrics(keys: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these keys, in the order of the table; ``all``: every one, no key: those by default.

    Raises:
        ConfigError: an unknown key, with those most like it.
    """
    if not keys:
        return tuple(metric for metric in METRICS.values() if metric.by_default)
    for key in keys:
        if key not in METRICS and key != "all":
            raise ConfigError(
                f"--metrics {key}: no such metric.{did_you_mean(key, METRICS)} Choose from {', '.join(METRICS)}, all."
            )
    return tuple(metric for metric in METRICS.values() if "all" in keys or metric.key in keys)
