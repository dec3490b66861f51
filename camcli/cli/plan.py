"""``cam run --dry-run``: everything is decided and printed, nothing is explained or written."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from camcli.cli.cost import cost_lines
from camcli.cli.options import OutputMode
from camcli.cli.setup_lines import candidate_name, describe_setup
from camcli.config.settings import RunConfig
from camcli.engines.processes import describe_processes
from camcli.engines.run import planned
from camcli.errors import printable
from camcli.images import Sources
from camcli.models import Model
from camcli.pipeline.folder import earlier_header, own_share, plan_folder
from camcli.pipeline.header import layer_fields, model_fields, output_fields
from camcli.pipeline.setup import in_run_folder, prepare
from camcli.schemas.index import ChosenMethod


def print_plan(config: RunConfig, mode: OutputMode) -> None:
    """``--dry-run``: decide everything, print it, write nothing; ``--method best`` is not tried."""
    undecided: list[str] = []

    def plan(config: RunConfig, model: Model, sources: Sources) -> ChosenMethod:
        from camcli.evaluation.best import choose_method

        return choose_method(config, model, sources, undecided.append, dry_run=True)

    config, several = planned(config)
    setup = prepare(config, earlier_header(config), decide=plan)
    folder = plan_folder(setup)
    count = in_run_folder(setup, folder).sources.count()
    shard = config.parsed.shard if not several else None
    own = own_share(config, count, setup.batch_size) if not several else count
    if mode.json:
        planned_run: dict[str, Any] = {
            "images": count, "model": model_fields(setup), "output": output_fields(setup),
            "layers": layer_fields(setup),
            "methods": list((config if undecided else setup.config).method),
            "batch_size": setup.batch_size, "device": str(setup.device),
            "precision": setup.precision, "save": list(config.save), "output_dir": str(folder),
        }  # fmt: skip
        if several:
            planned_run["processes"] = [str(setup.device) if one == "auto" else one for one in several]
        elif shard is not None:
            planned_run |= {"shard": str(shard), "shard_images": own}
        if setup.choice is not None:
            open_choice = {"method": None, "source": None, "why": undecided} if undecided else {}
            planned_run["chosen_method"] = {**setup.choice, **open_choice}
        print(json.dumps(planned_run))
        return
    if undecided and setup.choice is not None:
        costs = ", ".join(f"{candidate_name(one)} {one['passes']:g}" for one in setup.choice["candidates"])
        undecided.append(f"passes of a map: {costs}")
        setup = replace(setup, config=replace(setup.config, method=config.method), choice=None)
    for line in describe_setup(setup, passes=not undecided):
        print(line)
    for line in undecided:
        print(printable(f"best     {line}"))
    for line in setup.assumptions:
        print(printable(f"note     {line}"), file=sys.stderr)
    for note in setup.model.notes:
        print(f"note     {note}")
    for line in cost_lines(setup, own):
        print(line)
    if several:
        print(f"note     {describe_processes(several, str(setup.device))}")
    if config.engine == "ray":
        print("note     decided on this machine; on the cluster, a worker decides device and batch size")
    print(
        f"images   {count}"
        + (f", {own} of them in shard {shard}" if shard is not None else "")
        + (f", {setup.sources.passed_over} other files passed over" if setup.sources.passed_over else "")
    )
    print(f"output   {folder}: {', '.join(config.save) or 'index only'}")
    print("dry run: nothing was explained or written")
