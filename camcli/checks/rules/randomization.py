"""``random``: does the map depend on the trained weights, and on the class? (Adebayo 2018, arXiv:1810.03292)

Value: Spearman's correlation of the raw, signed map with

- ``weights``: the map of the same class after all weights have been re-initialised, from the top of the network down.
  Each tensor gets normal values of its own mean and deviation, and batch-norm statistics are measured again, so that
  signals keep their size. The medians of all stages are among the details;
- ``otherclass``: the map of another class, drawn at random, with the trained weights.

High correlation means that the map shows the image or the architecture rather than what the model was trained to use. A
map that is zero, constant or not finite correlates with nothing, and is no evidence either way: its image is left out,
and with too few left the check is inconclusive. Skipped for methods that are class-agnostic by design.

Maps of an untrained model change with new weights just as much (on drawn shapes their correlations lie between -0.2 and
0.2, and so do those of the trained model). So the check first tests whether the model is trained: its predictions must
be ahead of those of networks with new random weights (``lead``, see :mod:`camcli.checks.rules.untrained`). A model
whose weights are re-initialised, or whose checkpoint was not loaded, fails there.
"""

from collections.abc import Sequence

import numpy as np

from camcli.checks.context import Context
from camcli.checks.distances import spearman
from camcli.checks.judge import Words
from camcli.checks.result import Condition, Result, skip
from camcli.checks.rules.reinitialise import reinitialise
from camcli.checks.rules.untrained import UNTRAINED_NETWORKS, measure_lead
from camcli.checks.settings import Check, Setting

STAGES = 3
WORDS = Words(
    "rank correlation with maps that should differ",
    "Maps stay much the same without the trained weights, or for another class: they show the picture or the "
    "architecture, not what the model uses. Use another method.",
    "correlates by {} with another map",
)
UNTRAINED = (
    "the predictions are not ahead of those of {count} networks with new random weights (lead {lead:.3f}, ahead: over "
    "{limit:g}). They carry no more information than those of an untrained model: was the checkpoint loaded?"
)

DIFFERENT = {"weights": "with new random weights", "otherclass": "of another class"}
UNDEFINED = (
    "only {n} of {images} maps {what} show anything, where {needed} are needed: the others are zero, constant or not "
    "finite, and say nothing about what the trained maps depend on"
)


def run(context: Context) -> Result:
    from camcli.methods import METHODS

    method = METHODS.get(context.key[0])
    if method is not None and not method.class_specific:
        return skip("random", f"{method.key} is class-agnostic: it does not claim to explain a class")
    opened = context.open_images()
    reopened, images = context.reopened, opened.images
    pixels, targets, seeds = opened.pixels, opened.targets, opened.seeds
    lead = _compare_with_untrained(context, pixels)
    if not np.isfinite(lead.value):
        why = "the probabilities are not finite, so that they cannot be compared with those of an untrained network"
        return Result("random", "inconclusive", why, n=len(images))
    if lead.status == "fail":  # how the maps change then means nothing, and no image is worse than another
        why = UNTRAINED.format(count=UNTRAINED_NETWORKS, lead=lead.value, limit=lead.threshold)
        return Result("random", "fail", why, (lead,), len(images))
    trained = reopened.maps(pixels, targets, seeds)
    module, batch = reopened.setup.model.module, reopened.inputs(pixels[:16])
    curve: list[float | None] = []
    for stage in range(1, STAGES + 1):
        other = reinitialise(module, batch, context.seed, stage / STAGES)
        values = _correlations(trained, reopened.maps(pixels, targets, seeds, reopened.explainer(other)))
        curve.append(round(float(np.median(_defined(values))), 4) if len(_defined(values)) else None)
    metrics = {"weights": values}
    if (classes := reopened.setup.model.num_classes or 1) > 1:
        draw = np.random.default_rng(context.seed)
        others = [(target + int(draw.integers(1, classes))) % classes for target in targets]
        metrics["otherclass"] = _correlations(trained, reopened.maps(pixels, others, seeds))
    details = {"median_by_stage": curve, "lead": round(lead.value, 4)}
    for name, values in metrics.items():
        if (n := len(_defined(values))) < min(context.min_images, len(images)):
            why = UNDEFINED.format(n=n, images=len(images), what=DIFFERENT[name], needed=context.min_images)
            return Result("random", "inconclusive", why, n=len(images), details=details)
    judge, highest = context.judge(), np.nan_to_num(np.fmax.reduce(list(metrics.values())))
    conditions = judge({name: _defined(values) for name, values in metrics.items()})
    return judge.conclude("random", conditions, WORDS, images, highest, high_is_bad=True, details=details)


def _compare_with_untrained(context: Context, pixels: Sequence[np.ndarray]) -> Condition:
    """Whether the predictions show that the model is trained; too few images are not enough to deny it."""
    limit, n = float(context.settings["lead_min"]), len(pixels)
    value = measure_lead(context.reopened, pixels, context.seed)
    behind = value <= limit and n >= context.min_images
    return Condition("lead", value, "min", limit, None, n, "fail" if behind else "pass")


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) of the maps of two arrays; NaN where one of the maps is constant or not finite."""
    rhos = [spearman(x, y) if np.isfinite([x, y]).all() else None for x, y in zip(a, b, strict=True)]
    return np.array([np.nan if rho is None else rho for rho in rhos])


def _defined(values: np.ndarray) -> np.ndarray:
    defined: np.ndarray = values[~np.isnan(values)]
    return defined


SETTINGS = {
    "weights_median_max": Setting(
        0.4, "largest median correlation with maps of re-initialised weights", low=-1, high=1
    ),
    "otherclass_median_max": Setting(0.4, "largest median correlation with maps of another class", low=-1, high=1),
    "lead_min": Setting(1.0, "what the lead of the predictions over random weights must exceed; 0: not tested", low=0),
    "images": Setting(48, "images that are tried", int),
}
QUESTION = "does the map depend on the trained weights?"
CHECK = Check("random", QUESTION, run, SETTINGS, model=True, by_default=False, probability=True)
