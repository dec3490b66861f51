"""All checks by key, in the order of their reports.

To add one:

1. ``camcli/checks/rules/<key>.py``: a function from a :class:`~camcli.checks.context.Context` to a
   :class:`~camcli.checks.result.Result`, and ``CHECK``, its description with its settings. A setting named like
   ``median_max`` or ``spearman_p05_min`` is a threshold, which :mod:`camcli.checks.judge` applies and ``--calibrate``
   fits. No other module names the key.
2. Here: its module, in the import and at its place in the table.
3. ``tests/checks/test_registry.py``: in ``OUTCOMES`` the test in which it passes and fails on runs that are known to be
   good and bad. The example suite ``configs/checks.toml`` states its defaults; another test compares them.
"""

from types import MappingProxyType

from camcli.checks.rules import (
    agree,
    avoid,
    border,
    drift,
    faithful,
    focus,
    foreground,
    layout,
    predictions,
    randomization,
    shortcut,
    stable,
    valid,
    wrong,
)

_TABLE = (
    valid, layout, border, focus, foreground, avoid, shortcut,
    stable, randomization, faithful, agree, predictions, drift, wrong,
)  # fmt: skip

CHECKS = MappingProxyType({module.CHECK.key: module.CHECK for module in _TABLE})
"""Read-only."""
