"""``cam layers``: the modules of a model, and which of them can be explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from camcli.cli.options import Talk, takes_settings
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

_RECOMMENDED = "auto"
HELP = "The modules of a model with output shape, layout and grid; which one is recommended, and why others are not."
EXAMPLES = """Examples:

cam layers resnet50

cam layers timm:vit_small_patch14_reg4_dinov2 --weights random --filter norm

cam layers resnet50 --weights random --verify

cam layers builtin --verify blocks[-1] --json"""


def with_path_of_verify(arguments: Sequence[str]) -> list[str]:
    """``--verify`` without a path is ``--verify auto``, which the parser, for which it takes a path, does not know."""
    following = [*arguments[1:], "-"]
    return [
        f"--verify={_RECOMMENDED}" if argument == "--verify" and after.startswith("-") else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


@takes_settings(("model",), without=("model", "probability"), also=("device", "use_cuda"))
def command(
    settings: dict[str, Any],
    talk: Talk,
    model: str = typer.Argument("builtin", metavar="MODEL", help="As --model of cam run."),
    verify: str | None = typer.Option(
        None, metavar="[PATH]", help="Only this layer and its proof; without a path the recommended one."
    ),
    filter: str | None = typer.Option(None, metavar="TEXT", help="Only paths that contain TEXT."),  # noqa: A002
) -> None:
    config = RunConfig(**{**settings, "model": model})
    from camcli.cli.layer_tree import layer_tree
    from camcli.device import choose_device
    from camcli.layers import survey_layers
    from camcli.pipeline.setup import open_model

    opened = open_model(config, choose_device(config.device))
    with opened.prepared():
        survey = survey_layers(opened, config.layout, filter, [verify] if verify and verify != _RECOMMENDED else ())
    if verify == _RECOMMENDED:
        survey = replace(survey, rows=tuple(row for row in survey.rows if row.recommended))
        if not survey.rows:
            raise ConfigError(f"--verify: no layer of {opened.name} can be recommended; name one with --verify PATH.")
    if not survey.rows:
        raise ConfigError(f"--filter {filter}: no layer of {opened.name} has that in its path.")
    if talk.json:
        rows = [row.as_json() for row in survey.rows]
        document = {"model": opened.name, "recommended": survey.recommended, "layers": rows}
        print(json.dumps(document))
        return
    layer_tree(opened, survey, verbose=talk.verbose, selected=bool(filter or verify))
