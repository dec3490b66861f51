"""Flags from the settings: the command line of a command is generated from :data:`camcli.config.settings.SETTINGS`."""

import copy
import dataclasses
import inspect
import re
from collections.abc import Callable, Collection
from typing import Any

import typer
from typer.models import ParameterInfo

from camcli._version import __version__
from camcli.cli.command import GENERAL
from camcli.config.fields import Declaration
from camcli.config.file import OUTPUT_FLAGS, read_config_file
from camcli.config.parse import flag
from camcli.config.settings import SETTINGS

_PANELS = {
    "images": "Images",
    "model": "Model",
    "explain": "Explanation",
    "device": "Device",
    "output": "Output",
    "run": "Run",
}

_POSITIONAL = {"images": "image_path", "run": "image_path", "name": "model"}
"""Parameters of commands that take a setting without its flag."""

_NAMED_DEFAULT = re.compile(r" \([^()]*default: [^()]*\)\Z")
"""Of a help text that names the default itself."""


def show_version(value: bool) -> None:
    """The callback of ``--version``."""
    if value:
        print(f"cam {__version__}")
        raise typer.Exit()


@dataclasses.dataclass(frozen=True)
class OutputMode:
    """What a command prints: ``--quiet``, ``--verbose``, ``--json``."""

    quiet: bool
    verbose: bool
    json: bool


def takes_settings(
    groups: Collection[str],
    *,
    without: Collection[str] = (),
    also: Collection[str] = (),
    panel: str | None = None,
    without_defaults: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of some groups of settings, ``--config`` and the flags that all commands have.

    The command receives ``settings`` (those of the ``--config`` file, then those of the flags over them) and ``mode``
    in their place, besides its own parameters. A setting that neither gives is not in ``settings``.

    Args:
        groups: whose flags the command has.
        without: settings of these groups that it does not have.
        also: settings of other groups that it has.
        panel: of ``--help``, for the command's own flags.
        without_defaults: a setting that is not given has another value than its default: ``--help`` names none.
    """
    assert {*without, *also} <= SETTINGS.keys()
    chosen = [s for s in SETTINGS.values() if (s.group in groups or s.name in also) and s.name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            _own(parameter, panel)
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name not in ("settings", "mode")
        ]
        parameters = [*own, *(_parameter(one, without_defaults) for one in chosen), *_common()]

        def wrapper(**values: Any) -> None:
            values.pop("version")
            config_file = values.pop("config")
            settings = read_config_file(config_file) if config_file else {}
            in_file = {name: bool(settings.pop(name, False)) for name in OUTPUT_FLAGS}
            mode = OutputMode(**{name: values.pop(name) or value for name, value in in_file.items()})
            for parameter, name in _POSITIONAL.items():
                if values.get(parameter):  # what the command line names replaces what the file names
                    settings.pop(name, None)
            for setting in chosen:
                value = values.pop(setting.name)
                if value is not None and value != []:
                    settings[setting.name] = value
            command(**values, settings=settings, mode=mode)

        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapper.__doc__ = command.__doc__
        return wrapper

    return decorate


def _own(parameter: inspect.Parameter, panel: str | None) -> inspect.Parameter:
    """A parameter of the command itself, shown as those of the settings are."""
    info: ParameterInfo = copy.copy(parameter.default)  # commands may share it
    info.help = f"{info.help}{_default(info.default)}"
    info.show_default = False
    if isinstance(info, typer.models.OptionInfo):
        info.rich_help_panel = info.rich_help_panel or panel
    return parameter.replace(default=info)


def _parameter(setting: Declaration, without_default: bool) -> inspect.Parameter:
    kind: Any = list[str] if setting.kind is tuple else setting.kind
    name = flag(setting.name)
    option = typer.Option(
        None,
        f"{name}/--no-{name[2:]}" if setting.default is True or setting.name == "signed" else name,
        *([setting.short] if setting.short else []),
        help=_NAMED_DEFAULT.sub("", setting.help) if without_default else setting.help + _default(setting.default),
        metavar=setting.metavar or None,
        rich_help_panel=_PANELS[setting.group],
        show_default=False,
    )
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _default(value: Any) -> str:
    """The default as ``--help`` shows it; nothing for a switch that is off and for no value."""
    if value is None or value is False or value is ... or value == ():
        return ""
    return f" (default: {','.join(value) if isinstance(value, tuple) else 'on' if value is True else value})"


def _common() -> list[inspect.Parameter]:
    version = {"callback": show_version, "is_eager": True}
    specs: list[tuple[str, Any, tuple[Any, ...], str, dict[str, Any]]] = [
        ("config", str | None, (None,), "Read settings from a TOML file; flags win over it.", {"metavar": "FILE.toml"}),
        ("quiet", bool, (False, "--quiet", "-q"), "Print errors only.", {}),
        ("verbose", bool, (False, "--verbose", "-v"), "Print more.", {}),
        ("json", bool, (False, "--json"), "Print the result as one JSON document on stdout.", {}),
        ("version", bool, (False, "--version"), "Print the version and exit.", version),
    ]
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(*flags, help=help_text, rich_help_panel=GENERAL, show_default=False, **more),
            annotation=annotation,
        )
        for name, annotation, flags, help_text, more in specs
    ]
