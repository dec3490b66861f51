"""All checks, in the order of their reports. Adding one is a file with its formula and a line here."""

from __future__ import annotations

from types import MappingProxyType

from camcli.checks.rules import (
    agree,
    avoid,
    border,
    drift,
    faithful,
    focus,
    foreground,
    hotspot,
    layout,
    randomization,
    stable,
    valid,
    wrong,
)

_MODULES = (
    valid,
    layout,
    border,
    focus,
    foreground,
    avoid,
    hotspot,
    stable,
    randomization,
    faithful,
    agree,
    drift,
    wrong,
)

CHECKS = MappingProxyType({module.CHECK.key: module.CHECK for module in _MODULES})
"""By key. Read-only."""
