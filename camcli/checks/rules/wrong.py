"""``wrong``: where does the model look when it is wrong?

Reported, never failed: the median of ``foreground`` (mass on the object over its share of the view; where there are no
masks or boxes, of ``focus``, the entropy of the map) among images with a wrong top prediction, against images with a
right one. Wrong predictions that look beside the object ask for better data; wrong ones that look at the object ask for
a better classifier or better labels.
"""

from __future__ import annotations

import numpy as np

from camcli.checks.context import Context, image_names
from camcli.checks.distances import mass
from camcli.checks.judge import rank_images
from camcli.checks.recorded import ImageRecord
from camcli.checks.result import Result, number, skip
from camcli.checks.rules.foreground import measure_objects
from camcli.checks.settings import Check
from camcli.map_summary import entropy

LEAST = 10
"""Fewer wrong or right predictions are no ground for saying that they differ."""


def run(context: Context) -> Result:
    measured, what = _measure(context)
    right = [value for record, value in measured if record.correct]
    wrong = [(record, value) for record, value in measured if record.correct is False]
    if not right and not wrong:
        return skip("wrong", "no label is known: name folders after classes, or give a manifest with a label column")
    if not wrong or not right:
        outcome = f"all {len(measured)} labelled images are {'right' if right else 'wrong'}: nothing to compare"
        return Result("wrong", "pass", outcome, n=len(measured))
    values = np.array([value for _, value in wrong])
    bootstrap = context.bootstrap()
    low, high = bootstrap.quantile(values, 0.5)
    right_low, right_high = bootstrap.quantile(np.array(right), 0.5)
    apart = low > right_high or high < right_low
    few = min(len(wrong), len(right)) < LEAST
    outcome = "too few to tell" if few else "they differ" if apart else "no clear difference"
    why = (
        f"median {what} {number(float(np.median(values)))} [{number(low)} to {number(high)}] in {len(wrong)} wrong "
        f"predictions, {number(float(np.median(right)))} [{number(right_low)} to {number(right_high)}] in {len(right)} "
        f"right ones: {outcome}"
    )
    on_objects = what.startswith("heat")
    worst = rank_images(
        image_names(record for record, _ in wrong),
        values.tolist(),
        high_is_bad=not on_objects,
        words=f"wrong; {what} {{}}",
    )
    details = {"wrong": {"median": float(np.median(values)), "n": len(wrong)},
               "right": {"median": float(np.median(right)), "n": len(right)}}  # fmt: skip
    return Result("wrong", "pass", why, n=len(measured), worst=worst, details=details)


def _measure(context: Context) -> tuple[list[tuple[ImageRecord, float]], str]:
    on_objects_values = (
        [] if context.regions.problem else [pair for pair in measure_objects(context) if pair[0].correct is not None]
    )
    if on_objects_values:
        return on_objects_values, "heat on the object"
    maps = [
        (record, heat) for record, heat in context.meaningful_maps() if record.correct is not None and heat.raw.size > 1
    ]
    return [(record, entropy(mass(heat.raw)) or 0.0) for record, heat in maps], "entropy"


CHECK = Check("wrong", "where does the model look when it is wrong?", run)
