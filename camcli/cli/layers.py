"""``cam layers``: the modules of a model, and which of them can be explained."""

import json
from dataclasses import replace
from typing import Any

import typer

from camcli.cli.options import OutputMode, takes_settings
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

HELP = "List the modules of a model: output shape, layout and grid; which one is recommended, and why others are not."
EXAMPLES = """Examples:

cam layers resnet50

cam layers -m timm:vit_small_patch14_reg4_dinov2 --weights random --filter norm

cam layers resnet50 --weights random --verify

cam layers builtin --verify blocks[-1] --json"""


@takes_settings(("model",), without=("probability",), also=("device", "use_cuda"))
def command(
    settings: dict[str, Any],
    mode: OutputMode,
    name: str | None = typer.Argument(None, metavar="MODEL", help="The same as --model. (default: builtin)"),
    layers: list[str] | None = typer.Argument(None, metavar="LAYER", help="Only these layers, by their dotted paths."),
    verify: bool = typer.Option(
        False, "--verify", help="Only the layers that are named, or the recommended one: is their layout verified?"
    ),
    filter: str | None = typer.Option(None, metavar="TEXT", help="Only paths that contain TEXT."),  # noqa: A002
) -> None:
    paths = [name, *(layers or ())] if name else []
    if paths and "model" not in settings:
        settings = {**settings, "model": paths.pop(0)}
    config = RunConfig(**settings)
    from camcli.cli.layer_tree import layer_tree
    from camcli.device import choose_device, require_memory
    from camcli.layers import survey_layers
    from camcli.models.output_examination import examine
    from camcli.pipeline.setup import open_model

    opened = open_model(config, choose_device(config.device))
    with require_memory(opened.device, opened.name), opened.prepared():
        opened = examine(opened).model
        survey = survey_layers(opened, config.layout, filter, paths)
    if verify and not paths:
        survey = replace(survey, rows=tuple(row for row in survey.rows if row.recommended))
        if not survey.rows:
            raise ConfigError(f"--verify: no layer of {opened.name} can be recommended; name one after the model.")
    if not survey.rows:
        raise ConfigError(f"--filter {filter}: no layer of {opened.name} has that in its path.")
    if mode.json:
        rows = [row.as_json() for row in survey.rows]
        document = {"model": opened.name, "recommended": survey.recommended, "layers": rows}
        print(json.dumps(document))
        return
    layer_tree(opened, survey, verbose=mode.verbose, selected=bool(filter or paths or verify))
