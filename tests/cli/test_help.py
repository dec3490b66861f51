"""``--help`` as a first-time user reads it, at the width of a small and of a large terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from camcli.cli import app
from camcli.config.settings import SETTINGS

from ..conftest import Outcome

Cam = Callable[..., Outcome]
COMMANDS = ("run", "layers", "check", "eval", "diff", "bench", "models", "methods")


def options(command: str) -> Iterator[Any]:
    group: Any = typer.main.get_command(app)
    context: Any = typer.Context(group, info_name="cam", **group.context_settings)
    found = group.get_command(context, command)
    yield from (
        one for one in found.get_params(typer.Context(found, parent=context)) if one.param_type_name == "option"
    )


def words(text: str) -> str:
    """The text of the panels without frames and line breaks."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_no_python_types_and_one_style_of_defaults(
    cam: Cam, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = cam(*command, "--help")
    assert shown.code == 0
    assert max(len(line) for line in shown.out.splitlines()) <= columns
    assert not re.search(r"<\w|\b(BOOLEAN|INTEGER|FLOAT|None)\b", shown.out)
    assert not re.search(r"\[default|\[x[<>]", shown.out)
    assert "…" not in re.sub(r"[\],]…", "", shown.out)  # nothing is cut off


@pytest.mark.parametrize("command", COMMANDS)
def test_switches_have_no_value_and_all_other_flags_have_a_placeholder(command: str) -> None:
    for option in options(command):
        assert option.is_flag == (option.metavar is None), option.opts
        assert option.help
        assert option.help[0].isupper() or option.help.startswith(("auto", "best")), option.help


def test_every_setting_of_a_run_is_explained(cam: Cam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = words(cam("run", "--help").out)
    for name, declared in SETTINGS.items():
        assert f"--{name.replace('_', '-')}" in shown
        for word in declared.help.split():  # the columns of a panel stand between the lines of a text
            assert word in shown, (name, word)
    for default in ("0", "0.5", "jet", "overlay,heatmap", "89478485", "per-image", "on", "predicted"):
        assert f"(default: {default})" in shown or f"default: {default})" in shown


def test_every_metric_is_named(cam: Cam) -> None:
    from camcli.metrics.registry import METRICS

    (metrics,) = (option for option in options("eval") if option.name == "metrics")
    assert set(METRICS) <= set(re.findall(r"[\w-]+", metrics.help))


def test_short_forms() -> None:
    short = {flag: option.name for option in options("run") for flag in option.opts if len(flag) == 2}
    assert short == {
        "-m": "model", "-b": "batch_size", "-o": "output_dir", "-j": "workers", "-q": "quiet", "-v": "verbose",
        "-h": "help",
    }  # fmt: skip
    for command in ("check", "eval", "bench", "layers"):
        taken = {flag: option.name for option in options(command) for flag in option.opts if len(flag) == 2}
        assert taken.items() <= short.items(), command
    assert "-o" in {flag for option in options("eval") for flag in option.opts}
