"""``layout``: is the layout of the activation still verified?

The verification of the run's layers, repeated: parts of the input are perturbed, and the activation has to change in
the cells that the recorded layout names. A wrong layout gives maps that look plausible and show other places. Passes
when every layer is verified with the layout that the run used; warns where the run used ``--layout`` instead.
"""

from camcli.checks.context import Context
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check
from camcli.errors import LayerError


def run(context: Context) -> Result:
    from camcli.layers import resolve_layers
    from camcli.pipeline.target_layers import needs_gradient

    recorded = {row["path"]: row for row in context.run.header["layers"]}
    if not recorded:
        return skip("layout", "the run's methods take no layer: there is no layout to verify")
    try:
        setup = context.reopened.setup
    except UnavailableError as error:
        if isinstance(error.__cause__, LayerError):
            return Result("layout", "fail", f"the verification fails now: {error.__cause__}")
        raise
    if not recorded:
        return Result("layout", "pass", "the methods of the run look at no layer", details={"layers": []})
    try:
        layers = resolve_layers(setup.model, list(recorded), "auto", needs_gradient(setup.config))
    except LayerError as error:
        if setup.config.layout != "auto":
            return Result(
                "layout", "warn", f"the run has --layout {setup.config.layout}, which is not verified: {error}"
            )
        return Result("layout", "fail", f"the verification fails now: {error}")
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
    verified_layers = ", ".join(f"{layer.path} ({layer.layout})" for layer in layers)
    return Result("layout", "pass", f"verified again: {verified_layers}", details={"layers": list(recorded)})


CHECK = Check("layout", "is the layout of the activation right?", run, model=True, by_default=False)
