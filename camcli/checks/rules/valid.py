"""``valid``: do the maps show anything at all?

Value: the share of degenerate maps (zero, constant, or not finite) among all maps of the run, every method, layer and
target counted. A handful is normal (a class without evidence in the image); many mean a target layer without
gradient, a precision that overflows, or a network whose outputs are constant. The share itself decides: nothing is
sampled.
"""

from camcli.checks.context import Context
from camcli.checks.result import Condition, Result, Status, WorstImage, skip
from camcli.checks.settings import Check, Setting


def run(context: Context) -> Result:
    statuses = context.run.statuses
    total = statuses.total()
    if not total:
        return skip("valid", "the run has no maps")
    bad = total - statuses["ok"]
    limit = context.settings["share_max"]
    share = bad / total
    status: Status = "fail" if limit is not None and share > limit else "pass"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(statuses.items()) if kind != "ok")
    why = f"all {total} maps show something"
    if bad:
        why = f"{bad} of {total} maps show nothing ({kinds}); at most {100 * (limit or 0):g} % may"
    if status == "fail":
        why += ". Look at the target layer (cam layers), the precision, and whether the weights are finite."
    worst = tuple(WorstImage(image, source, 1.0, f"{kind} map") for image, source, kind in context.run.degenerate[:6])
    condition = Condition("share of degenerate maps", share, "max", limit or 0.0, None, total, status)
    return Result("valid", status, why, (condition,), len(context.run.images), worst)


SETTINGS = {"share_max": Setting(0.005, "largest share of degenerate maps, 0 to 1", low=0, high=1, optional=True)}
CHECK = Check("valid", "do the maps show anything?", run, SETTINGS)
