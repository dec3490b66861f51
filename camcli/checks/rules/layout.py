"""``layout``: is the activation still read the right way round?

The proof of the run's layers, repeated: parts of the input are perturbed, and the activation has to move in the cells
where the recorded layout says. A layout that is read wrongly gives maps that look plausible and point elsewhere. Passes
when every layer is proven with the layout that the run used; warns where the run went by ``--layout`` instead.
"""

from __future__ import annotations

from camcli.checks.context import Context
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check
from camcli.errors import LayerError


def run(context: Context) -> Result:
    from camcli.layers import resolve_layers
    from camcli.pipeline.setup import needs_gradient

    recorded = {row["path"]: row for row in context.run.header["layers"]}
    try:
        setup = context.reopened.setup
    except UnavailableError as error:
        if isinstance(error.__cause__, LayerError):
            return Result("layout", "fail", f"the proof fails now: {error.__cause__}")
        return skip("layout", str(error))
    try:
        layers = resolve_layers(setup.model, list(recorded), "auto", needs_gradient(setup.config))
    except LayerError as error:
        if setup.config.layout != "auto":
            return Result(
                "layout", "warn", f"the run was told --layout {setup.config.layout}, and no proof backs it: {error}"
            )
        return Result("layout", "fail", f"the proof fails now: {error}")
    wrong = []
    for layer in layers:
        row = recorded[layer.path]
        now = (layer.layout.kind, list(layer.layout.grid), layer.layout.prefix_tokens)
        if layer.proof != "proven" or now != (row["layout"], row["grid"], row["prefix_tokens"]):
            wrong.append(
                f"{layer.path} was read as {row['layout']} {row['grid']}, and {layer.layout} is {layer.proof} now"
            )
    if wrong:
        return Result("layout", "fail", "; ".join(wrong))
    proven = ", ".join(f"{layer.path} ({layer.layout})" for layer in layers)
    return Result("layout", "pass", f"proven again: {proven}", details={"layers": list(recorded)})


CHECK = Check("layout", "is the activation read the right way round?", run, model=True, by_default=False)
