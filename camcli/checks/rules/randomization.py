"""``random``: does the map depend on what the model has learnt, and on the class? (Adebayo 2018, arXiv:1810.03292)

Value: Spearman's correlation of the raw, signed map with

- ``weights``: the map of the same class after all weights have been drawn anew, from the top of the network down. Each
  tensor gets normal values of its own mean and deviation, and batch-norm statistics are measured anew, so that signals
  keep their size. The curve on the way down is among the details;
- ``otherclass``: the map of another class, drawn at random, with the trained weights.

High correlation means that the method draws the picture or the architecture rather than the model's knowledge. A map
that vanishes counts as 0. Skipped for methods that are class-agnostic by design.

Maps of a model that has learnt nothing change with new weights just as much (on drawn shapes their correlations lie
between -0.2 and 0.2, and so do those of the trained model). So the check asks first whether there is anything that a
map could depend on: the predictions must be ahead of those of networks with new random weights (``lead``, see
:mod:`camcli.checks.rules.untrained`). A model whose weights are re-initialised, or whose checkpoint was not loaded,
fails there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camcli.checks.context import Context, names
from camcli.checks.distances import spearman
from camcli.checks.judge import Words, conclude, worst_first
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import Condition, Result, skipped
from camcli.checks.rules.reinitialise import redrawn
from camcli.checks.rules.untrained import RIVALS, lead
from camcli.checks.settings import Check, Setting

STAGES = 3
WORDS = Words(
    "rank correlation with maps that should differ",
    "Maps stay much the same without what the model has learnt, or for another class: they show the picture or the "
    "architecture, not the model's reasons. Use another method.",
)
UNTRAINED = (
    "the predictions are not ahead of those of {rivals} networks with new random weights (lead {lead:.3f}, ahead: over "
    "{limit:g}). They say no more of these pictures than a model that has learnt nothing: was the checkpoint loaded?"
)


def run(context: Context) -> Result:
    from camcli.methods import METHODS

    method = METHODS.get(context.key[0])
    if method is not None and not method.class_specific:
        return skipped("random", f"{method.key} is class-agnostic: it does not claim to explain a class")
    try:
        tried = context.reopened()
    except UnavailableError as error:
        return skipped("random", str(error))
    lab, images, pixels, targets, seeds = context.lab, tried.images, tried.pixels, tried.targets, tried.seeds
    learnt = _learnt(context, pixels)
    if learnt.status == "fail":  # then it says nothing how the maps move, nor on which image
        why = UNTRAINED.format(rivals=RIVALS, lead=learnt.value, limit=learnt.threshold)
        return Result("random", "fail", why, (learnt,), len(images))
    trained = lab.maps(pixels, targets, seeds)
    module, measured = lab.setup.model.module, lab.inputs(pixels[:16])
    curve = []
    for stage in range(1, STAGES + 1):
        other = redrawn(module, measured, context.seed, stage / STAGES)
        values = _correlations(trained, lab.maps(pixels, targets, seeds, lab.explainer(other)))
        curve.append(round(float(np.median(values)), 4))
    metrics = {"weights": values}
    if (classes := lab.setup.model.num_classes or 1) > 1:
        draw = np.random.default_rng(context.seed)
        others = [(target + int(draw.integers(1, classes))) % classes for target in targets]
        metrics["otherclass"] = _correlations(trained, lab.maps(pixels, others, seeds))
    found = context.judge()(metrics)
    highest = np.max(list(metrics.values()), axis=0)
    worst = worst_first(names(images), highest.tolist(), high_is_bad=True, words="correlates by {} with another map")
    return conclude(
        "random", found, WORDS, n=len(images), min_images=context.min_images, worst=worst,
        details={"median_by_stage": curve, "lead": round(learnt.value, 4)},
    )  # fmt: skip


def _learnt(context: Context, pixels: Sequence[np.ndarray]) -> Condition:
    """Whether there is anything that the maps could depend on; too few images are no ground to deny it."""
    limit, n = float(context.settings["lead_min"]), len(pixels)
    value = lead(context.lab, pixels, context.seed)
    behind = value <= limit and n >= context.min_images
    return Condition("lead", value, "min", limit, None, n, "fail" if behind else "pass")


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([_correlation(x, y) for x, y in zip(a, b, strict=True)])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return 0.0
    return spearman(a, b) or 0.0


CHECK = Check(
    "random",
    "does the map depend on what the model has learnt?",
    run,
    {
        "weights_median_max": Setting(0.4, "largest median correlation with maps of new random weights"),
        "otherclass_median_max": Setting(0.4, "largest median correlation with maps of another class"),
        "lead_min": Setting(1.0, "what the lead of the predictions over random weights must exceed; 0: not asked"),
        "images": Setting(48, "images that are tried", int),
    },
    model=True,
    by_default=False,
)
