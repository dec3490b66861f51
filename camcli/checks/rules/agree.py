"""``agree``: do two methods of different families see the same?

Value: Spearman's correlation of the maps (after relu) of two methods that work by different means: gradients, changes
of the activation or the input, attention, or activations alone. Methods that agree can still be wrong together, and
methods that differ make both maps doubtful: a warning, never a failure.
"""

from __future__ import annotations

import numpy as np

from camcli.checks.context import Context, image_names
from camcli.checks.distances import spearman
from camcli.checks.judge import Words, conclude, rank_images
from camcli.checks.recorded import MethodLayer
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting

TROUBLE = "Two methods give different maps for the same decision: do not rely on either map alone."


def run(context: Context) -> Result:
    pair = _pair(context)
    if pair is None:
        return skip("agree", "the run has methods of one family only: run with, say, --method gradcam,reciprocam")
    images, values = [], []
    for record, heat in context.meaningful_maps(pair[0]):
        other = record.maps.get(pair[1])
        if other is None or other.status != "ok" or other.native is None or other.raw.shape != heat.raw.shape:
            continue
        rho = spearman(np.maximum(heat.raw, 0), np.maximum(other.raw, 0))
        if rho is not None:
            images.append(record)
            values.append(rho)
    if not images:
        return skip("agree", f"{pair[0][0]} and {pair[1][0]} have no maps on the same grid")
    conditions = context.judge()({"": np.array(values)})
    both = f"{pair[0][0]} and {pair[1][0]}"
    worst = rank_images(image_names(images), values, high_is_bad=False, words=f"{both} correlate by {{}}")
    result = conclude(
        "agree",
        conditions,
        Words(f"rank correlation of {both}", TROUBLE),
        n=len(values),
        min_images=context.min_images,
        worst=worst,
    )
    return result.as_warning()


def _pair(context: Context) -> tuple[MethodLayer, MethodLayer] | None:
    """The checked method and the first of another family; one that explains the class, where there is one."""
    if len({method for method, _ in context.run.keys}) < 2:
        return None
    from camcli.methods import METHODS  # loads torch, which most checks of a finished run do without

    def family(key: MethodLayer) -> str:
        method = METHODS.get(key[0])
        return key[0] if method is None else method.family  # a method that this version does not have: its own family

    def is_baseline(key: MethodLayer) -> bool:
        return key[0] in METHODS and METHODS[key[0]].baseline

    keys = [key for key in context.run.keys if family(key) != family(context.key) and not is_baseline(key)]
    keys.sort(key=lambda key: (key[0] not in METHODS or not METHODS[key[0]].class_specific, key[1] != context.key[1]))
    return (context.key, keys[0]) if keys else None


CHECK = Check(
    "agree",
    "do methods of different families see the same?",
    run,
    {"median_min": Setting(0.4, "least median of Spearman's correlation, -1 to 1")},
)
