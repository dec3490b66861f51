"""``focus``: is the heat neither one single cell nor spread over everything?

Value: normalised entropy of the map, −Σ p·ln p / ln n over its n cells: 0 for one hot cell, 1 for an even map. Near 1
the map does not show where the model looks (an unsuitable layer, an untrained model); near 0 for most images is an
artefact (an outlier token of a transformer, a layer of constant output).
"""

from camcli.checks.context import Context
from camcli.checks.distances import mass
from camcli.checks.judge import Words
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting
from camcli.map_summary import entropy

WORDS = Words(
    "spread of the heat (0: one cell, 1: spread evenly)",
    "Above: the maps are spread evenly. Below: they are single hot cells. Try another --layer, and "
    "check that the weights are the trained ones.",
    "spread {} (1: evenly)",
)


def run(context: Context) -> Result:
    if any(heat.raw.size < 2 for _, heat in context.meaningful_maps()):
        return skip("focus", "maps of a single cell have no focus; choose an earlier --layer")
    images, values = context.measure(lambda record, heat: entropy(mass(heat.raw)) or 0.0)
    judge = context.judge()
    conditions = judge({"": values})
    high_is_bad = not conditions or conditions[0].side == "max"
    return judge.conclude("focus", conditions, WORDS, images, values, high_is_bad=high_is_bad)


SETTINGS = {
    "median_min": Setting(0.05, "least median entropy, 0 to 1"),
    "median_max": Setting(0.97, "largest median entropy, 0 to 1"),
}
CHECK = Check("focus", "is the heat neither a single cell nor everywhere?", run, SETTINGS)
