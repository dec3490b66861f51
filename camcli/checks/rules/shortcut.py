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

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from camcli.checks.context import Context
from camcli.checks.judge import rank_conditions
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import SEVERITY, Condition, Result, Status, WorstImage
from camcli.checks.settings import Check, Setting
from camcli.checks.shortcuts.fixed_patterns import find_fixed_pattern
from camcli.checks.shortcuts.patch_effects import Carried, Effects, measure_effects
from camcli.checks.shortcuts.patterns import Box, Pattern, Search, stack_copies
from camcli.checks.shortcuts.repeated_patches import find_repeated_patch
from camcli.checks.views import View, read_views
from camcli.errors import SourceError

LEAST_CAUSE = 5
"""Images that the test of cause needs."""
_OTHERS = 40
"""Images of other classes that a class is compared with."""
_MOST = 4096
"""Images that are looked at in all, where that leaves ten for each class."""
_HOT, _REACH = 1.0, 0.05
"""Least heat where a pattern lies, relative to the mean of the map; and how far around it, in shares of the view: maps
are coarse, and their maximum lies beside a mark as often as on it."""
_TILE = 96
"""Longer side of the picture of a patch, in pixels."""


@dataclass(frozen=True)
class ClassImages:
    """The images of a class that are searched."""

    target: int
    name: str
    views: list[View]


def run(context: Context) -> Result:
    """Search every class, then test what was found on the model."""
    # Maps without heat count too: those of a class that is recognised by what it has not are often zero throughout.
    maps = ((record, record.maps.get(context.key)) for record in context.run.images)
    images = [(record, heat) for record, heat in maps if heat is not None and heat.target is not None]

    def conclude(status: Status, why: str, **details: Any) -> Result:
        return Result("shortcut", status, why, n=len(images), details={"shortcuts": [], **details})

    if len(images) < context.min_images:
        return conclude("inconclusive", f"only {len(images)} images where {context.min_images} are needed to decide")
    chosen = _choose(images, context)
    if not chosen:
        why = f"it takes two classes, one with {context.settings['class_images']} images, to tell a mark from a motif"
        return conclude("inconclusive", why)
    try:
        classes = _open(context, chosen)
    except (UnavailableError, SourceError) as error:
        return conclude("inconclusive", f"the images cannot be searched: {error}")
    found = [(one, pattern) for one in classes if (pattern := _search(context, one, classes)) is not None]
    if not found:
        return conclude("pass", "no class has something in common that images of other classes have not")
    try:
        return _judge(context, found, classes, len(images))
    except UnavailableError as error:
        first, pattern = found[0]
        why = f"{_carries(first, pattern)}; whether the model uses that cannot be tested: {error}"
        return conclude("inconclusive", why)


def _choose(images: list[tuple[ImageRecord, SaliencyMap]], context: Context) -> dict[int, list[ImageRecord]]:
    """Records to look at, by class; empty where no class can be compared with others."""
    by_class: dict[int, list[ImageRecord]] = {}
    for record, heat in images:
        by_class.setdefault(heat.target or 0, []).append(record)
    least = int(context.settings["class_images"])
    if len(by_class) < 2 or max(map(len, by_class.values())) < least:
        return {}
    most = max(least, min(int(context.settings["searched"]), _MOST // len(by_class)))
    rng = np.random.default_rng(context.seed)
    return {
        target: [records[i] for i in sorted(rng.permutation(len(records))[:most].tolist())]
        for target, records in by_class.items()
    }


def _open(context: Context, chosen: dict[int, list[ImageRecord]]) -> list[ClassImages]:
    views = read_views(context.run, [record for records in chosen.values() for record in records])
    if not views:
        raise UnavailableError("none of the run's images is there any more with the same content")
    classes = []
    for target, records in chosen.items():
        name = records[0].maps[context.key].target_name or f"class {target}"
        classes.append(ClassImages(target, name, [views[one.name] for one in records if one.name in views]))
    return classes


def _search(context: Context, one: ClassImages, classes: list[ClassImages]) -> Pattern | None:
    """What the images of a class have in common, and images of other classes have not."""
    settings = context.settings
    if len(one.views) < settings["class_images"]:
        return None
    rest = [view for other in classes if other is not one for view in other.views]
    rng = np.random.default_rng([context.seed, one.target])
    others = [rest[i] for i in rng.permutation(len(rest))[:_OTHERS].tolist()]
    if not others:
        return None
    size = one.views[0].pixels.shape[:2]
    search = Search(
        stack_copies([view.pixels for view in one.views]), stack_copies([view.pixels for view in others]),
        np.stack([_heat(view.record, context, size) for view in one.views]),
        float(settings["share"]), float(settings["ratio"]),
        sum(len(each.views) >= settings["class_images"] for each in classes),
    )  # fmt: skip
    found = (find_repeated_patch(search), find_fixed_pattern(search))
    patterns = [pattern for pattern in found if pattern is not None and heat_ratio(search, pattern) >= _HOT]
    return min(patterns, key=lambda pattern: pattern.chance, default=None)


def _heat(record: ImageRecord, context: Context, size: tuple[int, int]) -> np.ndarray:
    """The map at the size of a view; 1 everywhere where there is no heat."""
    heat = record.meaningful_map(context.key)
    return np.ones(size, np.float32) if heat is None else heat.heat(size)


def heat_ratio(search: Search, pattern: Pattern) -> float:
    """The mean heat where the pattern lies over the mean heat of the map; the median of the images that show it."""
    height, width = search.heat.shape[1:]
    ratios = []
    for i, (x0, y0, x1, y1) in pattern.boxes.items():
        rows = slice(max(0, int((y0 - _REACH) * height)), int(np.ceil((y1 + _REACH) * height)))
        columns = slice(max(0, int((x0 - _REACH) * width)), int(np.ceil((x1 + _REACH) * width)))
        ratios.append(float(search.heat[i, rows, columns].mean() / max(float(search.heat[i].mean()), 1e-9)))
    return float(np.median(ratios))


def _judge(context: Context, found: list[tuple[ClassImages, Pattern]], classes: list[ClassImages], n: int) -> Result:
    judge = context.judge(tests=2 * len(found), min_images=min(LEAST_CAUSE, context.min_images))
    settings = context.settings
    tests: list[tuple[ClassImages, Pattern, Effects, list[Condition]]] = []
    for one, pattern in found:
        carried = Carried(
            one.target, {one.views[i].record.name: box for i, box in pattern.boxes.items()},
            one.views[pattern.medoid].record,
        )  # fmt: skip
        own = [one.views[i].record for i in pattern.boxes]
        rest = [view.record for other in classes if other is not one for view in other.views]
        effects = measure_effects(context, carried, own, rest)
        conditions = []
        for words, changes in (("without it", effects.falls), ("with it", effects.rises)):
            hits, count = int((changes >= settings["effect"]).sum()), len(changes)
            if count:
                interval = judge.bootstrap.share(hits, count)
                name = f"{one.name}: share of images whose probability changes {words}"
                conditions.append(judge.condition(name, hits / count, "max", settings["cause"], interval, count))
        tests.append((one, pattern, effects, rank_conditions(conditions)))
    tests.sort(key=lambda test: SEVERITY.index(test[3][0].status) if test[3] else len(SEVERITY))
    one, pattern, effects, conditions = tests[0]
    status: Status = conditions[0].status if conditions else "inconclusive"
    why = _sentence(one, pattern, effects) + {
        "fail": ". The model may recognise the class by it: look for a watermark, a sticker, a logo or a ruler.",
        "pass": ": the model does not depend on it.",
    }.get(status, ": too few images, or too close to decide.")
    worst = [
        WorstImage(record.image, record.source, float(fall), f"{case.name} falls by {fall:.2f} without the patch")
        for case, _, measured, judged in tests
        if judged and judged[0].status != "pass"
        for record, fall in sorted(zip(measured.own, measured.falls, strict=True), key=lambda pair: -pair[1])[:6]
    ]
    shortcuts = [_as_json(*test) for test in tests]
    ranked = rank_conditions([condition for test in tests for condition in test[3]])
    return Result("shortcut", status, why, tuple(ranked), n, tuple(worst[:6]), {"shortcuts": shortcuts})


def _carries(one: ClassImages, pattern: Pattern) -> str:
    return (
        f"{100 * pattern.share:.0f} % of {one.name!r} carry the same patch {place_words(pattern)} "
        f"({100 * pattern.others:.0f} % of the others)"
    )


def _sentence(one: ClassImages, pattern: Pattern, effects: Effects) -> str:
    parts = []
    if len(effects.falls):
        parts.append(f"without it the probability falls by {max(0.0, effects.without):.2f}")
    if len(effects.rises):
        parts.append(
            f"pasted onto images of other classes it makes {100 * effects.converted:.0f} % of them {one.name!r}"
        )
    return f"{_carries(one, pattern)}; {', and '.join(parts)}"


def place_words(pattern: Pattern) -> str:
    """``at the bottom right`` or ``at varying places``."""
    if not pattern.fixed:
        return "at varying places"
    x0, y0, x1, y1 = pattern.region
    row, column = (min(2, int(3 * (low + high) / 2)) for low, high in ((y0, y1), (x0, x1)))
    words = f"{('top', 'middle', 'bottom')[row]} {('left', 'centre', 'right')[column]}"
    return f"at the {'centre' if words == 'middle centre' else words}"


def _as_json(one: ClassImages, pattern: Pattern, effects: Effects, conditions: list[Condition]) -> dict[str, Any]:
    medoid = one.views[pattern.medoid]
    return {
        "class": one.name,
        "index": one.target,
        "placement": "fixed" if pattern.fixed else "anywhere",
        "region": [round(edge, 4) for edge in pattern.region] if pattern.fixed else None,
        "share": round(pattern.share, 4),
        "others": round(pattern.others, 4),
        "without": round(effects.without, 4) if len(effects.falls) else None,
        "with": round(effects.with_, 4) if len(effects.rises) else None,
        "converted": round(effects.converted, 4) if len(effects.rises) else None,
        "decides": bool(conditions) and conditions[0].status == "fail",
        "patch": _picture(medoid.pixels, pattern.boxes[pattern.medoid]),
        "occurrences": [
            {"image": one.views[i].record.image, "box": [round(edge, 4) for edge in box]}
            for i, box in pattern.boxes.items()
        ],
    }


def _picture(pixels: np.ndarray, box: Box) -> str:
    """A PNG of part of a view, as a data URI."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    patch = Image.fromarray(pixels).crop((int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))))
    scale = _TILE / max(patch.size)
    buffer = io.BytesIO()
    patch.resize((max(1, round(patch.width * scale)), max(1, round(patch.height * scale)))).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


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
    model=True, by_default=False, probability=True,
)  # fmt: skip
