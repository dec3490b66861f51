"""``drift``: does the model still look where it used to?

Against a baseline, on maps after relu, for the images with the same top prediction, and apart from them for those whose
prediction changed (by the same thresholds, from ``changed_images`` such images on). The larger of the two groups is
always judged, so that the check does not get weaker the more predictions change:

- ``spearman``: rank correlation of the two maps, 1 for the same order of cells;
- ``iou``: intersection over union of the hottest 20 % of the cells;
- ``jsd``: Jensen-Shannon divergence of the mass, base 2, 0 to 1;
- ``centroid``: shift of the centre of mass over the diagonal of what the model saw.

The same weights on the same images give 1, 1, 0, 0 on one machine: any other value is a change of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from camcli.checks.baseline import Baseline, BaselineImage, match_grids
from camcli.checks.context import Context
from camcli.checks.distances import centroid_shift, divergence, mass, spearman, top_overlap
from camcli.checks.judge import Words
from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun, SaliencyMap
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting

METRICS = ("spearman", "iou", "jsd", "centroid")
CHANGED = "changed prediction:"
ADVICE = " If that is wanted, renew the baseline with --rebase."


@dataclass(frozen=True, slots=True)
class MapChange:
    """The change of the map of one image between two runs.

    Attributes:
        record: the image in the new run.
        base: the image in the baseline.
        distances: by metric.
    """

    record: ImageRecord
    base: BaselineImage
    distances: Mapping[str, float]

    @property
    def same_prediction(self) -> bool:
        return self.base.has_prediction_of(self.record)


def compare(run: RecordedRun, key: MethodLayer, baseline: Baseline) -> list[MapChange]:
    """Every image of the run that the baseline has, where both have a map that shows something."""
    changes = []
    for record in run.images:
        base, heat = baseline.find(record), record.meaningful_map(key)
        if base is None or base.raw is None or heat is None:
            continue
        if (distances := _distances(record, heat, base.raw)) is not None:
            changes.append(MapChange(record, base, distances))
    return changes


def _distances(record: ImageRecord, heat: SaliencyMap, base: np.ndarray) -> dict[str, float] | None:
    new, old = (np.maximum(m, 0) for m in match_grids(heat, base))
    rho = spearman(new, old)
    if rho is None:
        return None
    p, q = mass(new), mass(old)
    return {
        "spearman": rho,
        "iou": top_overlap(new, old),
        "jsd": divergence(p, q),
        "centroid": centroid_shift(p, q, record.view.width, record.view.height),
    }


def distances_by_metric(changes: list[MapChange]) -> dict[str, np.ndarray]:
    """(n,) values by metric."""
    return {name: np.array([one.distances[name] for one in changes]) for name in METRICS}


def run(context: Context) -> Result:
    if context.baseline is None:
        return skip("drift", "no baseline was given (--baseline FILE; --write-baseline FILE makes one)")
    result = judge_changes(context, compare(context.run, context.key, context.baseline))
    precisions = context.baseline.precisions(context.run)
    if precisions is None:
        return result
    note = f" {precision_words(precisions)}"
    why = result.why + "." * (not result.why.endswith(".")) + note
    return replace(result, why=why, details={**result.details, "precisions": precisions})


def precision_words(precisions: Mapping[str, str]) -> str:
    """That a comparison is one of two precisions, and what to do."""
    return (
        f"The baseline is of {precisions['base']}, the run of {precisions['new']}: rounding alone changes maps. "
        "Give both the same --precision."
    )


def judge_changes(context: Context, changes: list[MapChange], advice: str = ADVICE) -> Result:
    """The outcome over the images with the same prediction, and over those whose prediction changed.

    Args:
        context: of the check.
        changes: of all images.
        advice: what to do after a failure.
    """
    groups = {name: [one for one in changes if one.same_prediction != bool(name)] for name in ("", CHANGED)}
    least = min(int(context.settings["changed_images"]), (len(changes) + 1) // 2)
    judged = {name: group for name, group in groups.items() if len(group) >= max(1, least)}
    enough = len(changes) >= context.min_images  # the images of both groups together decide whether there are enough
    conditions = []
    for name, group in judged.items():
        judge = context.judge(tests=len(judged), min_images=len(group) if enough else None)
        conditions += judge(distances_by_metric(group), group=name)
    words = Words(
        "against the baseline", f"The model looks elsewhere than before.{advice}", "correlates with the baseline by {}"
    )
    changed = len(groups[CHANGED])
    result = context.judge().conclude(
        "drift", conditions, words, [one.record for one in changes], distances_by_metric(changes)["spearman"],
        high_is_bad=False, details={"compared": len(changes), "changed_predictions": changed},
    )  # fmt: skip
    if changed:
        how = "judged apart" if CHANGED in judged else "too few to be judged apart"
        note = f" Another prediction than in the baseline: {changed} of {len(changes)} images, {how}."
        result = replace(result, why=result.why + "." * (not result.why.endswith(".")) + note)
    return result


SETTINGS = {
    "spearman_median_min": Setting(0.8, "least median of Spearman's correlation, -1 to 1", low=-1, high=1),
    "iou_median_min": Setting(0.5, "least median overlap of the hottest 20 %, 0 to 1", low=0, high=1),
    "jsd_median_max": Setting(0.1, "largest median Jensen-Shannon divergence (base 2), 0 to 1", low=0, high=1),
    "centroid_median_max": Setting(
        0.1, "largest median shift of the centre of mass over the diagonal, 0 to 1", low=0, high=1
    ),
    "spearman_p05_min": Setting(0.3, "least 5th percentile of Spearman's correlation", low=-1, high=1),
    "changed_images": Setting(10, "from so many images whose prediction changed on, they are judged too", int),
}

CHECK = Check("drift", "does the model still look where it used to?", run, SETTINGS)
