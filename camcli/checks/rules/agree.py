"""``agree``: do two methods of different families see the same?

Value: Spearman's correlation of the maps (after relu) of two methods that work by different means: gradients, changes
of the activation or the input, attention, or activations alone. Methods that agree can still be wrong together, and
methods that differ make both maps doubtful: a warning, never a failure.
"""

import numpy as np

from camcli.checks.context import Context
from camcli.checks.distances import spearman
from camcli.checks.judge import Words
from camcli.checks.recorded import ImageRecord, MethodLayer, SaliencyMap
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting

FAILURE = "Two methods give different maps for the same decision: do not rely on either map alone."


def run(context: Context) -> Result:
    other = _other_method(context)
    if other is None:
        return skip("agree", "the run has methods of one family only: run with, say, --method gradcam,reciprocam")

    def correlate(record: ImageRecord, heat: SaliencyMap) -> float | None:
        theirs = record.meaningful_map(other)
        if theirs is None or theirs.raw.shape != heat.raw.shape:
            return None
        return spearman(np.maximum(heat.raw, 0), np.maximum(theirs.raw, 0))

    images, values = context.measure(correlate)
    both = f"{context.key[0]} and {other[0]}"
    if not images:
        return skip("agree", f"{both} have no maps on the same grid")
    judge, words = context.judge(), Words(f"rank correlation of {both}", FAILURE, f"{both} correlate by {{}}")
    return judge.conclude("agree", judge({"": values}), words, images, values, high_is_bad=False).as_warning()


def _other_method(context: Context) -> MethodLayer | None:
    """The first method of another family than the checked one; one that explains the class, where there is one."""
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
    return keys[0] if keys else None


SETTINGS = {"median_min": Setting(0.4, "least median of Spearman's correlation, -1 to 1", low=-1, high=1)}
CHECK = Check("agree", "do methods of different families see the same?", run, SETTINGS)
