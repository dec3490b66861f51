"""``focus``: is the heat neither one single cell nor spread over everything?

Value: normalised entropy of the map, −Σ p·ln p / ln n over its n cells: 0 for one hot cell, 1 for an even map. Near 1
the map does not show where the model looks (an unsuitable layer, an untrained model); near 0 for most images is an
artefact (an outlier token of a transformer, a dead layer).
"""

from __future__ import annotations

import numpy as np

from camcli.checks.context import Context, image_names
from camcli.checks.distances import mass
from camcli.checks.judge import Words, conclude, rank_images
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting
from camcli.map_summary import entropy

WORDS = Words(
    "spread of the heat (0: one cell, 1: spread evenly)",
    "Above: the maps are spread evenly. Below: they are single hot cells. Try another --layer, and "
    "check that the weights are the trained ones.",
)


def run(context: Context) -> Result:
    images = context.meaningful_maps()
    if any(heat.raw.size < 2 for _, heat in images):
        return skip("focus", "maps of a single cell have no focus; choose an earlier --layer")
    values = np.array([entropy(mass(heat.raw)) or 0.0 for _, heat in images])
    conditions = context.judge()({"": values})
    high = not conditions or conditions[0].side == "max"
    worst = rank_images(
        image_names(record for record, _ in images), values, high_is_bad=high, words="spread {} (1: evenly)"
    )
    return conclude("focus", conditions, WORDS, n=len(values), min_images=context.min_images, worst=worst)


CHECK = Check(
    "focus",
    "is the heat neither a single cell nor everywhere?",
    run,
    {
        "median_min": Setting(0.05, "least median entropy, 0 to 1"),
        "median_max": Setting(0.97, "largest median entropy, 0 to 1"),
    },
)
