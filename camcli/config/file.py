"""``--config``: a TOML file whose keys are the long flags of ``cam run``."""

import os
import tomllib
from pathlib import Path
from typing import Any

from camcli.config.settings import SETTINGS
from camcli.config.suggest import suggest_setting
from camcli.errors import ConfigError
from camcli.storage import is_url

OUTPUT_FLAGS = ("quiet", "verbose", "json")
"""Flags of every command that are not settings of a run."""
_WANTED = {
    tuple: "a string or a list of strings",
    str: "a string or a whole number",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def read_toml(option: str, path: str) -> dict[str, Any]:
    """The document of a TOML file that a flag names.

    Raises:
        ConfigError: the file cannot be read or is not TOML; the message names the flag and the file.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option} {path}: not a TOML file ({error}).") from error


def read_config_file(path: str) -> dict[str, Any]:
    """The settings of a TOML file, by field name; paths in it are relative to the folder of the file.

    Keys are the long flags, ``no-resume`` and those of :data:`OUTPUT_FLAGS` among them.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has an unknown key or a value of the wrong type.
    """
    table = read_toml("--config", path)
    kinds = {name: declared.kind for name, declared in SETTINGS.items()} | dict.fromkeys(OUTPUT_FLAGS, bool)
    opposites = {f"no_{name}": name for name, declared in SETTINGS.items() if declared.default is True}
    settings: dict[str, Any] = {}
    for key, value in table.items():
        written = key.replace("-", "_")
        name = opposites.get(written, written)
        if name not in kinds:
            suggestion = suggest_setting(key, [kind.replace("_", "-") for kind in kinds])
            raise ConfigError(f"--config {path}: unknown key {key!r}.{suggestion}")
        if name in settings:
            raise ConfigError(f"--config {path}: {key} repeats a setting that another key gives. Keep one of them.")
        typed = _check_type(path, key, value, kinds[name])
        settings[name] = not typed if written in opposites else typed
    return {name: _relative_to(os.path.dirname(path), name, value) for name, value in settings.items()}


def _check_type(path: str, key: str, value: Any, kind: type) -> Any:
    if kind is tuple:
        value = value if isinstance(value, list) else [value]
        is_valid = all(isinstance(item, str) for item in value)
    else:
        allowed = {str: str | int | list, float: int | float}.get(kind, kind)
        is_valid = isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)
    if not is_valid:
        raise ConfigError(f"--config {path}: {key} = {value!r} must be {_WANTED[kind]}.")
    return SETTINGS[key.replace("-", "_")].normalise(value) if kind is str else value


def _relative_to(base: str, name: str, value: Any) -> Any:
    if not base or name not in SETTINGS or SETTINGS[name].path is None:
        return value
    return [_join(base, item) for item in value] if isinstance(value, list) else _join(base, value)


def _join(base: str, path: str) -> str:
    if path.startswith("@"):
        return "@" + _join(base, path[1:])
    return path if path == "-" or is_url(path) else os.path.normpath(os.path.join(base, path))
