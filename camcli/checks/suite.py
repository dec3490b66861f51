"""Which checks run, with which thresholds: a TOML file, and ``--set CHECK.KEY=VALUE`` over it.

Without a file the checks that are cheap run. A file that has tables of checks runs exactly those, and those that
``--set`` or ``--require`` names besides; a threshold of ``false`` is switched off.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcli.checks.judge import LIMIT
from camcli.checks.registry import CHECKS
from camcli.checks.settings import COMMON, SUITE, Check, Setting
from camcli.config.file import read_toml
from camcli.errors import ConfigError, did_you_mean

_SUITE = "suite"
_REPLACED = {"hotspot": "shortcut"}
"""Checks of earlier versions, and those that do their work now."""


@dataclass(frozen=True)
class Suite:
    """What runs, completely decided.

    Attributes:
        settings: of each check that runs, by its key, in the order of the table.
        common: the settings of the table ``[suite]``.
        required: checks that must be decided: where one is inconclusive or skipped, it counts as failed.
    """

    settings: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any]
    required: frozenset[str] = frozenset()

    @property
    def checks(self) -> list[Check]:
        """The checks that run."""
        return [CHECKS[key] for key in self.settings]


def load_suite(path: str | None = None, changes: Sequence[str] = (), require: Sequence[str] = ()) -> Suite:
    """The suite of a file with changes over it.

    Args:
        path: a TOML file with a table for each check; None for the checks that run by default.
        changes: ``CHECK.KEY=VALUE``, or ``suite.KEY=VALUE``.
        require: checks that must be decided, besides those of the suite; several may be joined by commas.

    Raises:
        ConfigError: the file cannot be read, or names a check or setting that is not there, or gives it a wrong value;
            or a required check is disabled.
    """
    tables = _read(path) if path is not None else {}
    values = {name: _check_table(name, table, f"--suite {path}") for name, table in tables.items()}
    if path is not None and values.get(_SUITE, {}).get("manifest"):
        values[_SUITE]["manifest"] = str(Path(path).parent / values[_SUITE]["manifest"])
    for change in changes:
        name, key, value = _parse_change(change)
        values.setdefault(name, {}).update(_check_table(name, {key: value}, f"--set {change}"))
    listed = {name for name in tables if name != _SUITE}
    changed = {_parse_change(change)[0] for change in changes} - {_SUITE}
    common = {name: spec.default for name, spec in SUITE.items()} | values.get(_SUITE, {})
    required = _required({"--require": ",".join(require), "suite.require": common["require"] or ""})
    chosen = {key for key in CHECKS if key in listed or (not listed and CHECKS[key].by_default)} | changed | required
    settings = {}
    for key, check in CHECKS.items():
        complete = {name: spec.default for name, spec in {**COMMON, **check.settings}.items()} | values.get(key, {})
        if key in chosen and complete["enabled"]:
            settings[key] = complete
        elif key in required:
            raise ConfigError(f"{key} is required and disabled: set {key}.enabled=true, or do not require it.")
    if not settings:
        raise ConfigError("no check is left to run: every one is disabled.")
    return Suite(settings, common, required)


def _required(lists: Mapping[str, str]) -> frozenset[str]:
    """The checks of comma-separated lists, each by the name of the setting that gives it."""
    names = [(where, name.strip()) for where, text in lists.items() for name in text.split(",") if name.strip()]
    for where, name in names:
        if name not in CHECKS:
            raise _unknown(where, name, list(CHECKS))
    return frozenset(name for _, name in names)


def _read(path: str) -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = read_toml("--suite", path)
    for name, table in document.items():
        if not isinstance(table, dict):
            raise ConfigError(f"--suite {path}: {name} stands outside of a table; put it below [CHECK] or [suite].")
    return document


def _parse_change(change: str) -> tuple[str, str, Any]:
    path, equals, text = change.partition("=")
    name, dot, key = path.strip().partition(".")
    if not (equals and dot and name and key):
        raise ConfigError(f"--set {change}: give CHECK.KEY=VALUE, for example border.median_max=1.5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word or path
    return name, key, value


def _specs(name: str, where: str) -> Mapping[str, Setting]:
    if name == _SUITE:
        return SUITE
    if name not in CHECKS:
        raise _unknown(where, name, [*CHECKS, _SUITE])
    return {**COMMON, **CHECKS[name].settings}


def _unknown(where: str, name: str, names: Sequence[str]) -> ConfigError:
    """The error for a check that is not there."""
    if name in _REPLACED:
        new = _REPLACED[name]
        return ConfigError(
            f"{where}: the check {name!r} was replaced by {new!r}, which finds marks at any place and compares their "
            f"pixels. Write {new} instead; its settings are {', '.join(CHECKS[new].settings)}."
        )
    return ConfigError(f"{where}: no check {name!r}.{did_you_mean(name, names)} There are {', '.join(names)}.")


def _check_table(name: str, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    specs = _specs(name, where)
    checked = {}
    for key, value in table.items():
        if key not in specs:
            raise ConfigError(f"{where}: {name} has no {key!r}.{did_you_mean(key, specs)} It has {', '.join(specs)}.")
        checked[key] = _value(key, specs[key], value, f"{where}: {name}.{key}")
    return checked


def _value(key: str, spec: Setting, value: Any, where: str) -> Any:
    if spec.kind is bool:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{where} = {value!r} must be true or false.")
    if value is False and (LIMIT.fullmatch(key) or spec.default is None or spec.optional):
        return None  # switched off
    if spec.kind is str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)
    whole = spec.kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise ConfigError(f"{where} = {value!r} must be a {'whole number' if whole else 'number'}.")
    if whole and value < 0:
        raise ConfigError(f"{where} = {value!r} must not be negative.")
    if not spec.low <= value <= spec.high:
        raise ConfigError(f"{where} = {value!r} lies outside of its range: {_range_words(spec)}.")
    return value if whole else float(value)


def _range_words(spec: Setting) -> str:
    if math.isinf(spec.high):
        return f"at least {spec.low:g}"
    return f"{spec.low:g} to {spec.high:.3g}"
