"""``--config``: a TOML file whose keys are the long flags of ``cam run``."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Any

from camcli.config.settings import RunConfig
from camcli.errors import ConfigError, did_you_mean

SPEAKING = ("quiet", "verbose", "json")
"""Flags of every command that are no settings of a run."""
_PATHS = ("image_path", "output_dir", "checkpoint", "class_names", "csv")


def read_config_file(path: str) -> dict[str, Any]:
    """The settings of a TOML file, by field name; paths in it are relative to the folder of the file.

    Keys are the long flags, ``no-resume`` and those of :data:`SPEAKING` among them.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has an unknown key or a value of the wrong type.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: not a TOML file ({error}).") from error
    kinds = {f.name: str(f.type) for f in dataclasses.fields(RunConfig)} | dict.fromkeys(SPEAKING, "bool")
    opposites = {f"no_{f.name}": f.name for f in dataclasses.fields(RunConfig) if f.default is True}
    settings: dict[str, Any] = {}
    for key, value in table.items():
        written = key.replace("-", "_")
        name = opposites.get(written, written)
        if name not in kinds:
            dashed = [known.replace("_", "-") for known in kinds]
            raise ConfigError(f"--config {path}: unknown key {key!r}.{did_you_mean(key.replace('_', '-'), dashed)}")
        if name in settings:
            raise ConfigError(f"--config {path}: {key} says again what another key has said. Keep one of them.")
        typed = _typed(path, key, value, kinds[name])
        settings[name] = not typed if written in opposites else typed
    base = os.path.dirname(path)
    return {name: _relative_to(base, name, value) for name, value in settings.items()}


def _typed(path: str, key: str, value: Any, kind: str) -> Any:
    if kind.startswith("tuple"):
        items = value if isinstance(value, list) else [value]
        ok = all(isinstance(item, str) for item in items)
        value, wanted = items, "a string or a list of strings"
    elif kind.startswith("bool"):
        ok, wanted = isinstance(value, bool), "true or false"
    elif kind.startswith("int"):
        ok, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif kind.startswith("float"):
        ok, wanted = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
    else:
        value = ",".join(map(str, value)) if isinstance(value, list) else value
        ok, wanted = isinstance(value, (str, int)) and not isinstance(value, bool), "a string or a whole number"
        value = str(value) if ok else value
    if not ok:
        raise ConfigError(f"--config {path}: {key} = {value!r} must be {wanted}.")
    return value


def _relative_to(base: str, name: str, value: Any) -> Any:
    if name not in _PATHS or not base:
        return value
    if isinstance(value, list):
        return [_join(base, item) for item in value]
    return _join(base, value)


def _join(base: str, path: str) -> str:
    if path.startswith("@"):
        return "@" + _join(base, path[1:])
    return path if path == "-" else os.path.normpath(os.path.join(base, path))
