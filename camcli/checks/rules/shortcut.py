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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcli.checks.context import Context
from camcli.checks.judge import rank_conditions
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import SEVERITY, Condition, Result, Status, WorstImage
from camcli.checks.settings import Check, Setting
from camcli.checks.shortcuts.candidates import (
    GROUP,
    Candidate,
    ClassImages,
    can_be_searched,
    heat_of,
    search_classes,
)
from camcli.checks.shortcuts.many_classes import Pool, Promising, compare_classes
from camcli.checks.shortcuts.patch_effects import Carried, Effects, measure_effects
from camcli.checks.shortcuts.wording import class_words, effect_words, shortcuts_as_json
from camcli.checks.views import read_views
from camcli.errors import SourceError

LEAST_CAUSE = 5
"""Images that the test of cause needs."""
_SEARCHED_CLASSES = 8
"""Classes that are searched alone; of more, those that a comparison of a few images of each suggests."""
_POOL, _POOLED = 4096, 10
"""Images of that comparison in all, where that leaves two for each class; and at most of one class."""
_WORST = 6
"""Images that are named."""

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
    if len(records) < 2:
        return conclude("inconclusive", "it takes images of two classes to tell a mark from a motif")
    try:
        found = _search(context, records)
    except (UnavailableError, SourceError) as error:
        return conclude("inconclusive", f"the images cannot be searched: {error}")
    if found.candidates:
        return _judge(context, found, len(images))
    if not found.searched:
        why = f"no class has enough images to be searched alone ({context.settings['class_images']} at least)"
        return conclude("inconclusive", why + ("; together they share no patch" if len(records) > 2 else ""))
    why = (
        f"no patch is shared by the images of one of the {found.searched} classes that were searched, and by no others"
    )
    return conclude("pass", why, searched=found.searched, classes=len(records))


@dataclass(frozen=True)
class _Found:
    """What the search found.

    Attributes:
        candidates: what classes have in common.
        classes: all images that were looked at.
        searched: how many classes were searched alone.
    """

    candidates: list[Candidate]
    classes: list[ClassImages]
    searched: int


def _by_class(images: list[tuple[ImageRecord, SaliencyMap]], context: Context) -> Records:
    """The images of each class, in an order that is random and always the same."""
    records: Records = {}
    for record, heat in images:
        records.setdefault(heat.target or 0, []).append(record)
    rng = np.random.default_rng(context.seed)
    return {target: [own[i] for i in rng.permutation(len(own)).tolist()] for target, own in sorted(records.items())}


def _search(context: Context, records: Records) -> _Found:
    """What classes have in common, alone and in groups."""
    most = int(context.settings["searched"])
    if len(records) == 2:
        classes = _open(context, records, dict.fromkeys(records, most))
        return _candidates(context, classes, _searchable(context, classes, classes), [])
    few = max(2, min(_POOLED, most, _POOL // len(records)))
    first = _open(context, records, dict.fromkeys(records, few))
    promising = _compare(context, first)
    least = int(context.settings["class_images"])
    order = [first[place].target for place in promising.order if len(records[first[place].target]) >= least]
    counts = dict.fromkeys(records, few) | dict.fromkeys(order[:_SEARCHED_CLASSES], most)
    for group in promising.groups:
        for place in group:
            target = first[place].target
            counts[target] = max(counts[target], min(most, math.ceil(GROUP / len(group))))
    classes = _open(context, records, counts, first)
    by_target = {one.target: one for one in classes}
    groups = [
        [by_target[first[place].target] for place in group if first[place].target in by_target]
        for group in promising.groups
    ]
    chosen = [by_target[target] for target in sorted(order[:_SEARCHED_CLASSES]) if target in by_target]
    alone = _searchable(context, chosen, classes)
    return _candidates(context, classes, alone, groups)


def _searchable(context: Context, chosen: Sequence[ClassImages], classes: Sequence[ClassImages]) -> list[ClassImages]:
    """Those of the chosen classes in which something could be significant beside all classes."""
    total = sum(len(one.views) for one in classes)
    least, most = int(context.settings["class_images"]), int(context.settings["searched"])
    return [
        one
        for one in chosen
        if len(one.views) >= least
        and can_be_searched(len(one.views), min(most, total - len(one.views)), max(1, len(chosen)))
    ]


def _open(
    context: Context, records: Records, counts: Mapping[int, int], earlier: Sequence[ClassImages] = ()
) -> list[ClassImages]:
    """So many images of each class; those of ``earlier`` are not read again."""
    chosen = [record for target, own in records.items() for record in own[: counts[target]]]
    views = {view.record.name: view for one in earlier for view in one.views}
    views |= read_views(context.run, [record for record in chosen if record.name not in views])
    if not views:
        raise UnavailableError("none of the images of the run is still there with the same content")
    classes = []
    for target, own in records.items():
        name = own[0].maps[context.key].target_name or f"class {target}"
        pictures = [views[one.name] for one in own[: counts[target]] if one.name in views]
        if pictures:
            classes.append(ClassImages(target, name, pictures))
    if len(classes) < 2:
        raise UnavailableError("only images of one class are still there with the same content")
    if len(views) < min(len(chosen), context.min_images):
        raise UnavailableError(f"{len(views)} of {len(chosen)} are still there with the same content")
    return classes


def _compare(context: Context, classes: list[ClassImages]) -> Promising:
    views = [(place, view) for place, one in enumerate(classes) for view in one.views]
    heat = [heat_of(view.record, context, view.pixels.shape[:2]) for _, view in views]
    pool = Pool([view.pixels for _, view in views], heat, np.array([place for place, _ in views]))
    return compare_classes(pool, float(context.settings["share"]), float(context.settings["ratio"]), context.seed)


def _candidates(
    context: Context, classes: list[ClassImages], alone: list[ClassImages], groups: list[list[ClassImages]]
) -> _Found:
    """What was found; of a group of classes and of one of them alone, the same thing counts once."""
    candidates: list[Candidate] = []
    tried = len(alone) + len(groups)
    for own in [*groups, *([one] for one in alone)]:
        candidate = search_classes(context, own, classes, tried)
        if candidate is not None and len(own) > 1:
            # A group is a guess from a few images of each class: those that do not show it leave.
            least = float(context.settings["share"])
            showing = [one for one in own if candidate.of_class(one)[1] >= least]
            if len(showing) < 2:
                continue  # one class is searched alone
            if len(showing) < len(own):
                candidate = search_classes(context, showing, classes, tried, {one.target for one in own})
        if candidate is not None and not any(candidate.repeats(other) for other in candidates):
            candidates.append(candidate)
    return _Found(candidates, classes, len(alone))


@dataclass(frozen=True)
class _Tested:
    """A candidate, what it does to the model, and the verdict; no effects: they could not be measured, for a reason."""

    candidate: Candidate
    effects: Effects | None
    conditions: list[Condition]
    reason: str = ""

    @property
    def status(self) -> Status:
        return self.conditions[0].status if self.conditions else "inconclusive"

    @property
    def decides(self) -> bool | None:
        """Whether the model depends on it; None where that is open."""
        return {"fail": True, "pass": False}.get(self.status)


def _judge(context: Context, found: _Found, n: int) -> Result:
    tests = sorted((_test(context, candidate, found) for candidate in found.candidates), key=_severity)
    first = tests[0]
    why = effect_words(first.candidate, first.effects)
    if first.reason:
        why += f"; whether the model uses that cannot be tested: {first.reason}"
    else:
        why += {
            "fail": ". The model may recognise the class by it: look for a watermark, a sticker, a logo or a ruler.",
            "pass": ": the model does not depend on it.",
        }.get(first.status, ": too few images, or too close to decide.")
    others = [class_words(test.candidate) for test in tests[1:] if test.status == "fail"]
    if others:
        why += f" Another patch decides for {'; '.join(others)}."
    worst = [
        WorstImage(
            record.image,
            record.source,
            float(fall),
            f"the probability of {class_words(test.candidate)} falls by {fall:.2f} without the patch",
        )
        for test in tests
        if test.effects is not None and test.status != "pass"
        for record, fall in sorted(zip(test.effects.own, test.effects.falls, strict=True), key=lambda pair: -pair[1])
        if fall >= context.settings["effect"]
    ]
    shortcuts = [one for test in tests for one in shortcuts_as_json(test.candidate, test.effects, test.decides)]
    ranked = rank_conditions([condition for test in tests for condition in test.conditions])
    details = {"shortcuts": shortcuts, "searched": found.searched}
    return Result("shortcut", first.status, why, tuple(ranked), n, tuple(worst[:_WORST]), details)


def _severity(test: _Tested) -> int:
    return SEVERITY.index(test.status)


def _test(context: Context, candidate: Candidate, found: _Found) -> _Tested:
    """Measure what a candidate does to the model."""
    pattern, views, settings = candidate.pattern, candidate.views, context.settings
    carried = Carried(
        candidate.targets,
        {views[i].record.name: box for i, box in pattern.boxes.items()},
        views[pattern.medoid].record,
        pattern.mask,
    )
    rest = [view.record for one in found.classes if one.target not in candidate.targets for view in one.views]
    try:
        effects = measure_effects(context, carried, [views[i].record for i in pattern.boxes], rest)
    except UnavailableError as error:
        return _Tested(candidate, None, [], str(error))
    judge = context.judge(tests=2 * len(found.candidates), min_images=min(LEAST_CAUSE, context.min_images))
    conditions = []
    for words, changes in (("without it", effects.falls), ("with it", effects.rises)):
        hits, count = int((changes >= settings["effect"]).sum()), len(changes)
        if count:
            interval = judge.bootstrap.share(hits, count)
            names = ", ".join(one.name for one in candidate.classes)
            name = f"{names}: share of images whose probability changes {words}"
            conditions.append(judge.condition(name, hits / count, "max", settings["cause"], interval, count))
    return _Tested(candidate, effects, rank_conditions(conditions))


SETTINGS = {
    "share": Setting(0.3, "least share of a class's images that carry the patch", low=0, high=1),
    "ratio": Setting(4.0, "how many times more often than in other classes", low=1),
    "effect": Setting(0.2, "change of the probability that counts, 0 to 1", low=0, high=1),
    "cause": Setting(0.3, "largest share of images whose probability may change by that much", low=0, high=1),
    "class_images": Setting(10, "classes with fewer images are not searched alone", int, low=5),
    "searched": Setting(40, "images a class that are searched", int, low=5),
    "images": Setting(24, "images of the class, and of others, that the test of cause takes", int, low=5),
}
CHECK = Check(
    "shortcut", "does the model recognise a class by a mark on its images?", run, SETTINGS,
    model=True, probability=True,
)  # fmt: skip
