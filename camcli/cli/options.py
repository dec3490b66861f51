"""Flags from the settings: the command line of a command is generated from :class:`camcli.RunConfig`."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Collection
from typing import Any

import typer
from typer.models import OptionInfo

from camcli._version import __version__
from camcli.config.file import SPEAKING, read_config_file
from camcli.config.parse import flag
from camcli.config.settings import RunConfig

_PANELS = {
    "images": "Images",
    "model": "Model",
    "explain": "Explanation",
    "device": "Device",
    "output": "Output",
    "run": "Run",
}

_POSITIONAL = ("images", "run")
"""Parameters of commands that take image paths without a flag."""


def show_version(value: bool) -> None:
    """The callback of ``--version``."""
    if value:
        print(f"cam {__version__}")
        raise typer.Exit()


@dataclasses.dataclass(frozen=True)
class Talk:
    """How a command speaks: ``--quiet``, ``--verbose``, ``--json``."""

    quiet: bool
    verbose: bool
    json: bool


def takes_settings(
    groups: Collection[str], *, without: Collection[str] = (), also: Collection[str] = (), panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of some groups of settings, ``--config`` and the flags that all commands have.

    The command receives ``settings`` (what was given: the file of ``--config``, then the flags over it) and ``talk``
    in their place, besides its own parameters. A flag that is not given is not in ``settings``.

    Args:
        groups: whose flags the command has.
        without: settings of these groups that it does not have.
        also: settings of other groups that it has.
        panel: of ``--help``, for the command's own flags.
    """
    chosen = [
        f
        for f in dataclasses.fields(RunConfig)
        if (f.metadata["group"] in groups or f.name in also) and f.name not in without
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            _in_panel(p, panel)
            for p in inspect.signature(command, eval_str=True).parameters.values()
            if p.name not in ("settings", "talk")
        ]
        parameters = [*own, *map(_parameter, chosen), *_common()]

        def wrapper(**given: Any) -> None:
            given.pop("version")
            config_file = given.pop("config")
            settings = read_config_file(config_file) if config_file else {}
            spoken = {name: bool(settings.pop(name, False)) for name in SPEAKING}
            talk = Talk(**{name: given.pop(name) or said for name, said in spoken.items()})
            if any(given.get(name) for name in _POSITIONAL):  # what is named on the command line wins
                settings.pop("image_path", None)
            for f in chosen:
                value = given.pop(f.name)
                if value is not None and value != []:
                    settings[f.name] = value
            command(**given, settings=settings, talk=talk)

        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapper.__doc__ = command.__doc__
        return wrapper

    return decorate


def _in_panel(parameter: inspect.Parameter, panel: str | None) -> inspect.Parameter:
    if not isinstance(parameter.default, OptionInfo):
        return parameter
    option = copy.copy(parameter.default)  # another command may share it, in a panel of its own
    option.rich_help_panel = panel
    return parameter.replace(default=option)


def _parameter(spec: dataclasses.Field[Any]) -> inspect.Parameter:
    kind = str(spec.type)
    annotation: Any = str | None
    if kind.startswith("tuple"):
        annotation = list[str] | None
    elif kind.startswith("bool"):
        annotation = bool | None
    elif kind.startswith("int"):
        annotation = int | None
    elif kind.startswith("float"):
        annotation = float | None
    name = flag(spec.name)
    option = typer.Option(
        None,
        f"{name}/--no-{name[2:]}" if spec.default is True else name,
        help=spec.metadata["help"] + _default(spec),
        metavar=spec.metadata["metavar"] or None,
        rich_help_panel=_PANELS[spec.metadata["group"]],
        show_default=False,
    )
    return inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _default(spec: dataclasses.Field[Any]) -> str:
    value = ",".join(spec.default) if isinstance(spec.default, tuple) else spec.default
    return "" if value in (None, "", False) else f" (default: {'on' if value is True else value})"


def _common() -> list[inspect.Parameter]:
    version = {"callback": show_version, "is_eager": True}
    specs: list[tuple[str, Any, tuple[Any, ...], str, dict[str, Any]]] = [
        ("config", str | None, (None,), "Settings from a TOML file; flags win over it.", {"metavar": "F.toml"}),
        ("quiet", bool, (False, "--quiet", "-q"), "Only errors.", {}),
        ("verbose", bool, (False, "--verbose", "-v"), "Say more.", {}),
        ("json", bool, (False, "--json"), "The result as one JSON document on stdout.", {}),
        ("version", bool, (False, "--version"), "Print the version.", version),
    ]
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(*flags, help=help_text, rich_help_panel="General", **more),
            annotation=annotation,
        )
        for name, annotation, flags, help_text, more in specs
    ]
