"""The commands of Typer with another help and other errors: no Python types, and suggestions for unknown flags."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from camcli.config.suggest import suggest_setting
from camcli.errors import ConfigError

GENERAL = "General"
"""The panel of flags that all commands have."""


class Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        params = _without_types(super().get_params(ctx))
        for param in params:
            if "--help" in param.opts:
                param.rich_help_panel = GENERAL
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _suggestions(ctx, self.params):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _suggestions(ctx, self.params):
            return super().parse_args(ctx, args)


def _without_types(params: list[Any]) -> list[Any]:
    """Show no type: switches have no value, and an argument is described by its name."""
    for param in params:
        if param.param_type_name == "argument" or param.is_flag:
            param.display_type_rich = lambda ctx: None
    return params


@contextmanager
def _suggestions(ctx: Any, params: list[Any]) -> Iterator[None]:
    """Report an unknown flag as the package's own error, with the flags that may be meant."""
    try:
        yield
    except Exception as error:
        # A class of click, of which newer versions of Typer have a private copy: it is recognised by its fields.
        if not (hasattr(error, "option_name") and hasattr(error, "possibilities")):
            raise
        flags = [name for param in params for name in param.opts if name.startswith("--")]
        suggestion = suggest_setting(error.option_name, flags)
        raise ConfigError(
            f"{error.option_name}: no such flag.{suggestion} `{ctx.command_path} --help` lists all flags."
        ) from None
