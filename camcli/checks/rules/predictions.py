"""``predictions``: does the model still give the same predictions, and is it as often right?

Against a baseline, over all images of the run that the baseline has, whether or not they have a map:

- changed predictions: the share of images whose top prediction is another class than in the baseline. Classes are
  compared by name where both have names (a shuffled list of class names is a change), else by index;
- fall of accuracy: accuracy in the baseline minus accuracy in the run, over the images whose label is known, from the
  run or else from the baseline. The difference is paired: its interval resamples images, each with both outcomes. With
  fewer labelled images than ``min_images`` it is reported and not judged: it is never larger than the share of changed
  predictions, which is judged.

``drift`` compares where the model looks; this check compares what it says. A model that changes its predictions fails
here however few images are left for ``drift`` to compare.
"""

import numpy as np

from camcli.checks.baseline import BaselineImage
from camcli.checks.context import Context
from camcli.checks.judge import rank_conditions
from camcli.checks.recorded import ImageRecord
from camcli.checks.result import Condition, Result, WorstImage, number, skip
from camcli.checks.settings import Check, Setting

MOST_NAMED = 6
FAILURE = "If that is wanted, renew the baseline with --rebase."
Pair = tuple[ImageRecord, BaselineImage]


def run(context: Context) -> Result:
    if context.baseline is None:
        return skip("predictions", "no baseline was given (--baseline FILE; --write-baseline FILE makes one)")
    found = [(record, context.baseline.find(record)) for record in context.run.images]
    pairs = [
        (record, base)
        for record, base in found
        if base is not None and record.predicted is not None and base.predicted is not None
    ]
    if not pairs:
        return skip("predictions", "no image has a predicted class both in the run and in the baseline")
    changed = [(record, base) for record, base in pairs if not base.has_prediction_of(record)]
    conditions = _judge(context, pairs, changed)
    status = conditions[0].status if conditions else "pass"
    judged = [one for one in conditions if one.status == status]
    why = "; ".join(one.words for one in judged) if judged else "no threshold is set"
    if status == "inconclusive":
        few = len(pairs) < context.min_images
        needed = f"only {len(pairs)} images where {context.min_images} are needed"
        why += f"; {needed if few else 'the interval reaches over the threshold; more images would decide'}"
    why = why.replace(", should be", ",") if status == "pass" else why
    why += f". {len(changed)} of {len(pairs)} predictions changed"
    accuracy = _accuracies(pairs)
    if accuracy is not None:
        why += f"; accuracy of {len(_outcomes(pairs))} labelled images {number(accuracy[0])} in the baseline, "
        why += f"{number(accuracy[1])} now"
    why += f". {FAILURE}" if status == "fail" else ""
    details = {
        "compared": len(pairs), "changed": len(changed), "labelled": len(_outcomes(pairs)),
        "accuracy": None if accuracy is None else {"baseline": accuracy[0], "run": accuracy[1]},
    }  # fmt: skip
    return Result("predictions", status, why, tuple(conditions), len(pairs), _worst(changed), details)


def _judge(context: Context, pairs: list[Pair], changed: list[Pair]) -> list[Condition]:
    judge, bootstrap = context.judge(), context.bootstrap()
    conditions = []
    if (limit := context.settings["changed_max"]) is not None:
        share, interval = len(changed) / len(pairs), bootstrap.share(len(changed), len(pairs))
        conditions.append(judge.condition("changed predictions", share, "max", limit, interval, len(pairs)))
    outcomes = _outcomes(pairs)
    if len(outcomes) >= context.min_images and (limit := context.settings["accuracy_fall_max"]) is not None:
        falls = outcomes[:, 0] - outcomes[:, 1]
        interval = bootstrap.mean(falls)
        conditions.append(judge.condition("fall of accuracy", float(falls.mean()), "max", limit, interval, len(falls)))
    return rank_conditions(conditions)


def _outcomes(pairs: list[Pair]) -> np.ndarray:
    """(labelled images, 2): whether the baseline's prediction is right (1) or wrong (0), and the run's."""
    rows = [(base.is_correct(record.label), record.is_correct(base.label)) for record, base in pairs]
    return np.array([(float(a), float(b)) for a, b in rows if a is not None and b is not None]).reshape(-1, 2)


def _accuracies(pairs: list[Pair]) -> tuple[float, float] | None:
    outcomes = _outcomes(pairs)
    return (float(outcomes[:, 0].mean()), float(outcomes[:, 1].mean())) if len(outcomes) else None


def _worst(changed: list[Pair]) -> tuple[WorstImage, ...]:
    """The images whose new prediction is the most confident."""
    ordered = sorted(changed, key=lambda pair: -(pair[0].probability or 0.0))[:MOST_NAMED]
    return tuple(
        WorstImage(record.image, record.source, record.probability or 0.0, f"{base.prediction} → {record.prediction}")
        for record, base in ordered
    )


SETTINGS = {
    "changed_max": Setting(
        0.05, "largest share of images whose prediction changed, 0 to 1", low=0, high=1, optional=True
    ),
    "accuracy_fall_max": Setting(
        0.02, "largest fall of accuracy where labels are known, -1 to 1", low=-1, high=1, optional=True
    ),
}
CHECK = Check("predictions", "are the predictions those of the baseline?", run, SETTINGS)
