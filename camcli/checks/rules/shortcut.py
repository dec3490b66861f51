"""``shortcut``: does the model recognise a class by something that its images carry: a sticker, a logo, a time stamp?

Three stages, and only all together fail:

1. *Search*: a patch that recurs in the hot part of the maps of a class and not in other classes, wherever it lies
   (``shortcuts/repeated_patches.py``), or details at one place (``shortcuts/fixed_patterns.py``).
2. *Sameness* is part of the search: what recurs has to be nearly the same pixels once it is aligned, or the same fine
   details at one place. An object that is always in the middle is not.
3. *Cause* (``shortcuts/patch_effects.py``): the class's probability falls when the patch is filled from its
   surroundings, or rises when the patch is put into images of other classes; in both cases by more than the same
   change with another part of the same image does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camcli.checks.context import Context
from camcli.checks.judge import rank_conditions
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import SEVERITY, Condition, Result, Status, WorstImage
from camcli.checks.settings import Check, Setting
from camcli.checks.shortcuts.candidates import Candidate, ClassImages, heat_of, search_classes
from camcli.checks.shortcuts.many_classes import Pool, Promising, compare_classes
from camcli.checks.shortcuts.patch_effects import Carried, Effects, measure_effects
from camcli.checks.shortcuts.wording import carried_words, effect_words, shortcuts_as_json
from camcli.checks.views import read_views
from camcli.errors import SourceError

LEAST_CAUSE = 5
"""Images that the test of cause needs."""
_SEARCHED_CLASSES = 8
"""Classes that are searched alone; of more, those that a comparison of a few images of each suggests."""
_POOL, _POOLED = 4096, 10
"""Images of that comparison in all, where that leaves two for each class; and at most of one class."""

Records = dict[int, list[ImageRecord]]
"""Images by the class that their map explains."""


def run(context: Context) -> Result:
    """Search the classes, then test what was found on the model."""
    # Maps without heat count too: those of a class that is recognised by what it has not are often zero throughout.
    maps = ((record, record.maps.get(context.key)) for record in context.run.images)
    images = [(record, heat) for record, heat in maps if heat is not None and heat.target is not None]

    def conclude(status: Status, why: str, **details: Any) -> Result:
        return Result("shortcut", status, why, n=len(images), details={"shortcuts": [], **details})

    if len(images) < context.min_images:
        return conclude("inconclusive", f"only {len(images)} images where {context.min_images} are needed to decide")
    records = _by_class(images, context)
    least = int(context.settings["class_images"])
    if len(records) < 2 or (len(records) == 2 and max(map(len, records.values())) < least):
        return conclude("inconclusive", f"it takes two classes, one with {least} images, to tell a mark from a motif")
    try:
        candidates, classes = _search(context, records)
    except (UnavailableError, SourceError) as error:
        return conclude("inconclusive", f"the images cannot be searched: {error}")
    if not candidates and max(map(len, records.values())) < least:
        why = f"no class has the {least} images that it takes to search one alone; together they share no patch"
        return conclude("inconclusive", why)
    if not candidates:
        return conclude("pass", "no class has something in common that images of other classes have not")
    try:
        return _judge(context, candidates, classes, len(images))
    except UnavailableError as error:
        why = f"{carried_words(candidates[0])}; whether the model uses that cannot be tested: {error}"
        return conclude("inconclusive", why)


def _by_class(images: list[tuple[ImageRecord, SaliencyMap]], context: Context) -> Records:
    """The images of each class, in an order that is random and always the same."""
    records: Records = {}
    for record, heat in images:
        records.setdefault(heat.target or 0, []).append(record)
    rng = np.random.default_rng(context.seed)
    return {target: [own[i] for i in rng.permutation(len(own)).tolist()] for target, own in sorted(records.items())}


def _search(context: Context, records: Records) -> tuple[list[Candidate], list[ClassImages]]:
    """What classes have in common, alone and in groups, and all images that were looked at."""
    most, least = int(context.settings["searched"]), int(context.settings["class_images"])
    if len(records) == 2:
        classes = _open(context, records, dict.fromkeys(records, most))
        return _candidates(context, classes, [[one] for one in classes if len(one.views) >= least]), classes
    few = max(2, min(_POOLED, most, _POOL // len(records)))
    first = _open(context, records, dict.fromkeys(records, few))
    promising = _compare(context, first)
    chosen = [first[place].target for place in promising.order if len(records[first[place].target]) >= least]
    chosen = chosen[:_SEARCHED_CLASSES]
    grouped = {first[place].target for group in promising.groups for place in group}
    counts = {target: most if target in chosen or target in grouped else few for target in records}
    classes = _open(context, records, counts)
    by_target = {one.target: one for one in classes}
    alone = [[by_target[target]] for target in sorted(chosen) if target in by_target]
    groups = [[by_target[first[place].target] for place in group] for group in promising.groups]
    return _candidates(context, classes, groups + alone), classes


def _open(context: Context, records: Records, counts: Mapping[int, int]) -> list[ClassImages]:
    chosen = [record for target, own in records.items() for record in own[: counts[target]]]
    views = read_views(context.run, chosen)
    if not views:
        raise UnavailableError("none of the run's images is there any more with the same content")
    classes = []
    for target, own in records.items():
        name = own[0].maps[context.key].target_name or f"class {target}"
        pictures = [views[one.name] for one in own[: counts[target]] if one.name in views]
        if pictures:
            classes.append(ClassImages(target, name, pictures))
    return classes


def _compare(context: Context, classes: list[ClassImages]) -> Promising:
    views = [(place, view) for place, one in enumerate(classes) for view in one.views]
    heat = [heat_of(view.record, context, view.pixels.shape[:2]) for _, view in views]
    pool = Pool([view.pixels for _, view in views], heat, np.array([place for place, _ in views]))
    return compare_classes(pool, float(context.settings["share"]), float(context.settings["ratio"]), context.seed)


def _candidates(context: Context, classes: list[ClassImages], searched: Sequence[list[ClassImages]]) -> list[Candidate]:
    """What was found; of a group of classes and one of them alone, the same thing counts once."""
    candidates: list[Candidate] = []
    for own in searched:
        candidate = search_classes(context, own, classes, len(searched))
        if candidate is not None and len(own) > 1:
            # A group is a guess from a few images of each class: those that do not show it leave.
            least = float(context.settings["share"])
            showing = [one for one in own if candidate.of_class(one)[1] >= least]
            if len(showing) == 1:
                continue  # it is searched alone
            if len(showing) < len(own):
                candidate = search_classes(context, showing, classes, len(searched))
        if candidate is not None and not any(set(candidate.targets) <= set(known.targets) for known in candidates):
            candidates.append(candidate)
    return candidates


def _judge(context: Context, candidates: list[Candidate], classes: list[ClassImages], n: int) -> Result:
    judge = context.judge(tests=2 * len(candidates), min_images=min(LEAST_CAUSE, context.min_images))
    settings = context.settings
    tests: list[tuple[Candidate, Effects, list[Condition]]] = []
    for candidate in candidates:
        effects = _measure(context, candidate, classes)
        conditions = []
        for words, changes in (("without it", effects.falls), ("with it", effects.rises)):
            hits, count = int((changes >= settings["effect"]).sum()), len(changes)
            if count:
                interval = judge.bootstrap.share(hits, count)
                names = ", ".join(one.name for one in candidate.classes)
                name = f"{names}: share of images whose probability changes {words}"
                conditions.append(judge.condition(name, hits / count, "max", settings["cause"], interval, count))
        tests.append((candidate, effects, rank_conditions(conditions)))
    tests.sort(key=lambda test: SEVERITY.index(test[2][0].status) if test[2] else len(SEVERITY))
    candidate, effects, conditions = tests[0]
    status: Status = conditions[0].status if conditions else "inconclusive"
    why = effect_words(candidate, effects) + {
        "fail": ". The model may recognise the class by it: look for a watermark, a sticker, a logo or a ruler.",
        "pass": ": the model does not depend on it.",
    }.get(status, ": too few images, or too close to decide.")
    worst = [
        WorstImage(
            record.image,
            record.source,
            float(fall),
            f"{case.classes[0].name} falls by {fall:.2f} without the patch",
        )
        for case, measured, judged in tests
        if judged and judged[0].status != "pass"
        for record, fall in sorted(zip(measured.own, measured.falls, strict=True), key=lambda pair: -pair[1])[:6]
    ]
    shortcuts = [
        one
        for case, measured, judged in tests
        for one in shortcuts_as_json(case, measured, bool(judged) and judged[0].status == "fail")
    ]
    ranked = rank_conditions([condition for test in tests for condition in test[2]])
    return Result("shortcut", status, why, tuple(ranked), n, tuple(worst[:6]), {"shortcuts": shortcuts})


def _measure(context: Context, candidate: Candidate, classes: list[ClassImages]) -> Effects:
    pattern, views = candidate.pattern, candidate.views
    carried = Carried(
        candidate.targets,
        {views[i].record.name: box for i, box in pattern.boxes.items()},
        views[pattern.medoid].record,
        pattern.mask,
    )
    rest = [view.record for one in classes if one.target not in candidate.targets for view in one.views]
    return measure_effects(context, carried, [views[i].record for i in pattern.boxes], rest)


SETTINGS = {
    "share": Setting(0.3, "least share of a class's images that carry the patch", low=0, high=1),
    "ratio": Setting(4.0, "how many times more often than in other classes", low=1),
    "effect": Setting(0.2, "change of the probability that counts, 0 to 1", low=0, high=1),
    "cause": Setting(0.3, "largest share of images whose probability may change by that much", low=0, high=1),
    "class_images": Setting(10, "classes with fewer images are not searched", int),
    "searched": Setting(40, "images a class that are searched", int),
    "images": Setting(24, "images of the class, and of others, that the test of cause takes", int),
}
CHECK = Check(
    "shortcut", "does the model recognise a class by a mark on its images?", run, SETTINGS,
    model=True, probability=True,
)  # fmt: skip
