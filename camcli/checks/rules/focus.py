"""``focus``: is the heat neither one single cell nor spread over everything?

Value: normalised entropy of the map, −Σ p·ln p / ln n over its n cells: 0 for one hot cell, 1 for an even map. Near 1
the map does not show where the model looks (an unsuitable layer, an untrained model); near 0 for most images is an
artefact (an outlier token of a transformer, a layer of constant output).

A class that is recognised by the absence of the others' features has evenly spread maps by nature. Where the median
over all images is too high, the check therefore looks at the explained classes with at least ``class_images`` images:

- a model of two classes (or one score): softmax takes only the difference of the two scores, and what both have in
  common spreads the maps of either. It fails only where the maps of both classes are spread out in nearly every image:
  the 5th percentile of the entropy is beyond the threshold for each. One class that has some focused maps is enough;
- a model of more classes: at most one of them can be recognised by elimination. The class with the highest median is
  set aside, and the median over the other images decides.
"""

from dataclasses import dataclass, replace

import numpy as np

from camcli.checks.context import Context
from camcli.checks.distances import mass
from camcli.checks.judge import Words
from camcli.checks.result import Condition, Result, skip
from camcli.checks.settings import Check, Setting
from camcli.map_summary import entropy

WORDS = Words(
    "spread of the heat (0: one cell, 1: spread evenly)",
    "Above: the maps are spread evenly. Below: they are single hot cells. Try another --layer, and "
    "check that the weights are the trained ones.",
    "spread {} (1: evenly)",
)
NATURAL = (
    ". Half of the maps of {classes} or more are spread evenly. That is natural for a class that is recognised by the "
    "absence of what others show: its map has nothing to point at"
)
MOST_FOCUSED = 0.05


def run(context: Context) -> Result:
    if any(heat.raw.size < 2 for _, heat in context.meaningful_maps()):
        return skip("focus", "maps of a single cell have no focus; choose an earlier --layer")
    images, values = context.measure(lambda record, heat: entropy(mass(heat.raw)) or 0.0)
    conditions = context.judge()({"": values})
    names = np.array([record.maps[context.key].target_name or "" for record in images])
    spread = next((one for one in conditions if one.side == "max" and one.status != "pass"), None)
    natural: list[str] = []
    if spread is not None and len(images) >= context.min_images:
        by_class = ClassSpread(context, names, values, spread)
        instead, natural = by_class.of_two() if by_class.is_two_class else by_class.of_many()
        conditions = [one for one in conditions if one is not spread] + instead
    high_is_bad = not conditions or conditions[0].side == "max"
    details = {"spread_classes": natural}
    result = context.judge().conclude(
        "focus", conditions, WORDS, images, values, high_is_bad=high_is_bad, details=details
    )
    if natural and result.status == "pass":
        result = replace(result, why=result.why + NATURAL.format(classes=" and ".join(map(repr, natural))))
    return result


@dataclass(frozen=True)
class ClassSpread:
    """The entropy by class, of a run whose maps are spread out as a whole.

    Attributes:
        context: of the check.
        names: (n,) the class that each image's map explains.
        values: (n,) entropies.
        overall: the condition on all images, which is not fulfilled.
    """

    context: Context
    names: np.ndarray
    values: np.ndarray
    overall: Condition

    @property
    def is_two_class(self) -> bool:
        """Whether the model has two classes."""
        return self.context.run.header["model"].get("num_classes") in (1, 2)

    def classes(self) -> dict[str, np.ndarray]:
        """The entropies of each class with enough images, the most spread class first."""
        least = int(self.context.settings["class_images"])
        groups = {str(name): self.values[self.names == name] for name in np.unique(self.names)}
        large = {name: own for name, own in groups.items() if len(own) >= least}
        return dict(sorted(large.items(), key=lambda entry: -float(np.median(entry[1]))))

    def of_two(self) -> tuple[list[Condition], list[str]]:
        """What decides instead of the median over all images, and the classes that are spread out."""
        classes = self.classes()
        judge = self.context.judge(tests=max(1, len(classes)), min_images=1)
        conditions = [
            judge.condition(
                f"class {name}: 5th percentile", float(np.quantile(own, MOST_FOCUSED)), "max", self.overall.threshold,
                judge.bootstrap.quantile(own, MOST_FOCUSED), len(own),
            )
            for name, own in classes.items()
        ]  # fmt: skip
        if not conditions:
            return [self.overall], []
        spread = [name for name, own in classes.items() if float(np.median(own)) > self.overall.threshold]
        best = min(conditions, key=lambda one: ("pass", "inconclusive", "fail").index(one.status))
        return ([self.overall] if best.status == "fail" else [best]), spread

    def of_many(self) -> tuple[list[Condition], list[str]]:
        """The same with the most spread class set aside."""
        classes = self.classes()
        aside = next(iter(classes), None)
        rest = self.values[self.names != aside]
        if aside is None or len(rest) < self.context.min_images:
            return [self.overall], []
        judge = self.context.judge()
        interval = judge.bootstrap.quantile(rest, 0.5)
        name = f"without class {aside}: median"
        limit = self.overall.threshold
        return [judge.condition(name, float(np.median(rest)), "max", limit, interval, len(rest))], [aside]


SETTINGS = {
    "median_min": Setting(0.05, "least median entropy, 0 to 1", low=0, high=1),
    "median_max": Setting(0.97, "largest median entropy, 0 to 1", low=0, high=1),
    "class_images": Setting(10, "from so many images on a class is looked at by itself", int),
}
CHECK = Check("focus", "is the heat neither a single cell nor everywhere?", run, SETTINGS)
