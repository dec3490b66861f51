"""``wrong``: where does the model look when it is wrong?

Reported, never failed: the median of ``foreground`` (mass on the object over its share of the view; where there are no
masks or boxes, of ``focus``, the entropy of the map) among images with a wrong top prediction, against images with a
right one. Wrong predictions that look beside the object ask for better data; wrong ones that look at the object ask for
a better classifier or better labels.
"""

from itertools import compress

import numpy as np

from camcli.checks.context import Context
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
    images, figures, what = _measure(context)
    right = figures[[bool(record.correct) for record in images]]
    wrong = [record for record in images if not record.correct]
    values = figures[[not record.correct for record in images]]
    if not images:
        return skip("wrong", "no label is known: name folders after classes, or give a manifest with a label column")
    if not wrong or not len(right):
        outcome = f"all {len(images)} labelled images are {'right' if len(right) else 'wrong'}: nothing to compare"
        return Result("wrong", "pass", outcome, n=len(images))
    bootstrap = context.bootstrap()
    low, high = bootstrap.quantile(values, 0.5)
    right_low, right_high = bootstrap.quantile(right, 0.5)
    apart = low > right_high or high < right_low
    few = min(len(wrong), len(right)) < LEAST
    outcome = "too few to decide" if few else "they differ" if apart else "no clear difference"
    median, right_median = float(np.median(values)), float(np.median(right))
    why = (
        f"median {what} {number(median)} [{number(low)} to {number(high)}] in {len(wrong)} wrong predictions, "
        f"{number(right_median)} [{number(right_low)} to {number(right_high)}] in {len(right)} right ones: {outcome}"
    )
    worst = rank_images(wrong, values, high_is_bad=not what.startswith("heat"), words=f"wrong; {what} {{}}")
    details = {"wrong": {"median": median, "n": len(wrong)}, "right": {"median": right_median, "n": len(right)}}
    return Result("wrong", "pass", why, n=len(images), worst=worst, details=details)


def _measure(context: Context) -> tuple[list[ImageRecord], np.ndarray, str]:
    """The labelled images, their values (n,), and what these are."""
    if not context.regions.problem:
        images, values = measure_objects(context)
        labelled = [record.correct is not None for record in images]
        if any(labelled):
            return list(compress(images, labelled)), values[labelled], "heat on the object"
    images, values = context.measure(
        lambda record, heat: None if record.correct is None or heat.raw.size < 2 else entropy(mass(heat.raw)) or 0.0
    )
    return images, values, "entropy"


CHECK = Check("wrong", "where does the model look when it is wrong?", run)
