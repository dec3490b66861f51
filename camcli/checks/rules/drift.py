"""``drift``: does the model still look where it used to?

Against a baseline, for each image with the same top prediction (another prediction has another map, and is counted
apart), on maps after relu:

- ``spearman``: rank correlation of the two maps, 1 for the same order of cells;
- ``iou``: intersection over union of the hottest 20 % of the cells;
- ``jsd``: Jensen-Shannon divergence of the mass, base 2, 0 to 1;
- ``centroid``: shift of the centre of mass over the diagonal of what the model saw.

The same weights on the same images give 1, 1, 0, 0 on one machine: all movement above that is the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcli.checks.baseline import Baseline, Known, on_one_grid
from camcli.checks.context import Context, names
from camcli.checks.distances import centroid_shift, divergence, mass, spearman, top_overlap
from camcli.checks.judge import Words, conclude, ranked, worst_first
from camcli.checks.recorded import Heat, MapKey, Recorded, Seen
from camcli.checks.result import Result, skipped
from camcli.checks.settings import Check, Setting

METRICS = ("spearman", "iou", "jsd", "centroid")
ADVICE = " If that is wanted, renew the baseline with --rebase."


@dataclass(frozen=True, slots=True)
class Moved:
    """How far the map of one image moved.

    Attributes:
        seen: the image in the new run.
        known: the image in the baseline.
        distances: by metric.
    """

    seen: Seen
    known: Known
    distances: Mapping[str, float]

    @property
    def same_prediction(self) -> bool:
        return self.seen.predicted == self.known.predicted


def compare(run: Recorded, key: MapKey, baseline: Baseline) -> list[Moved]:
    """Every image of the run that the baseline knows, where both have a map that shows something."""
    moved = []
    for seen in run.images:
        known, heat = baseline.find(seen), seen.heats.get(key)
        if known is None or known.raw is None or heat is None or heat.status != "ok" or heat.native is None:
            continue
        if (distances := _distances(seen, heat, known.raw)) is not None:
            moved.append(Moved(seen, known, distances))
    return moved


def _distances(seen: Seen, heat: Heat, known: np.ndarray) -> dict[str, float] | None:
    new, old = (np.maximum(m, 0) for m in on_one_grid(heat, known))
    rho = spearman(new, old)
    if rho is None:
        return None
    p, q = mass(new), mass(old)
    return {
        "spearman": rho,
        "iou": top_overlap(new, old),
        "jsd": divergence(p, q),
        "centroid": centroid_shift(p, q, seen.view.width, seen.view.height),
    }


def columns(moved: list[Moved]) -> dict[str, np.ndarray]:
    """(n,) values by metric."""
    return {name: np.array([one.distances[name] for one in moved]) for name in METRICS}


def run(context: Context) -> Result:
    if context.baseline is None:
        return skipped("drift", "no baseline was given (--baseline FILE; --write-baseline FILE makes one)")
    return judged(context, compare(context.run, context.key, context.baseline))


def judged(context: Context, moved: list[Moved], advice: str = ADVICE) -> Result:
    """The outcome over the images whose prediction stayed; ``advice`` says what to do about a failure."""
    same = [one for one in moved if one.same_prediction]
    changed = len(moved) - len(same)
    found = context.judge()(columns(same))
    values = [one.distances["spearman"] for one in same]
    worst = worst_first(
        names(one.seen for one in same), values, high_is_bad=False, words="correlates with the baseline by {}"
    )
    details: dict[str, Any] = {"compared": len(moved), "changed_predictions": changed}
    done = conclude(
        "drift",
        ranked(found),
        Words("against the baseline", f"The model looks elsewhere than before.{advice}"),
        n=len(same),
        min_images=context.min_images,
        worst=worst,
        details=details,
    )
    if changed:
        note = f" Another prediction than in the baseline: {changed} of {len(moved)} images, not counted here."
        done = Result(done.check, done.status, done.why + "." * (not done.why.endswith(".")) + note, done.conditions,
                      done.n, done.worst, done.details)  # fmt: skip
    return done


LIMITS: dict[str, Setting] = {
    "spearman_median_min": Setting(0.8, "least median of Spearman's correlation, -1 to 1"),
    "iou_median_min": Setting(0.5, "least median overlap of the hottest 20 %, 0 to 1"),
    "jsd_median_max": Setting(0.1, "largest median Jensen-Shannon divergence (base 2), 0 to 1"),
    "centroid_median_max": Setting(0.1, "largest median shift of the centre of mass over the diagonal, 0 to 1"),
    "spearman_p05_min": Setting(0.3, "least 5th percentile of Spearman's correlation"),
}

CHECK = Check("drift", "does the model still look where it used to?", run, LIMITS)
