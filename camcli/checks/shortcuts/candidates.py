"""From the images of a run to candidates: what one class, or several together, have in common."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from camcli.checks.context import Context
from camcli.checks.recorded import ImageRecord
from camcli.checks.shortcuts.fixed_patterns import find_fixed_pattern
from camcli.checks.shortcuts.patterns import SIGNIFICANCE, Box, Pattern, Search, stack_copies
from camcli.checks.shortcuts.repeated_patches import find_repeated_patch, log_best_chance
from camcli.checks.views import View
from camcli.stats import log_ways

GROUP, _OTHERS_OF_GROUP = 120, 240
"""Images of several classes together that are searched, and of the rest that they are compared with."""
_NEARLY = 0.8
"""Share of the images that show the other pattern from which on the repeated patch is taken."""
_SAME = 0.3
"""Overlap of two boxes, over their union, from which on they are of the same thing."""
_HOT, _REACH = 0.6, 0.05
"""Least heat where a pattern lies, relative to the mean of the map; and how far around it, in shares of the view: maps
are coarse, and their maximum lies beside a mark as often as on it. Those of transformers are hardly hotter on a mark
that decides (0.84) than elsewhere; whether it does is tested on the model."""


@dataclass(frozen=True)
class ClassImages:
    """The images of a class that are searched."""

    target: int
    name: str
    views: list[View]


@dataclass(frozen=True)
class Candidate:
    """Something that images of one class, or of several, have in common.

    Attributes:
        classes: whose images carry it.
        views: of these classes that were searched; the indices of the pattern count in them.
        pattern: what was found.
    """

    classes: list[ClassImages]
    views: list[View]
    pattern: Pattern

    @property
    def targets(self) -> list[int]:
        """Indices of the classes."""
        return [one.target for one in self.classes]

    def of_class(self, one: ClassImages) -> tuple[list[int], float]:
        """Indices of the views of one of the classes that show it, and their share of those that were searched."""
        names = {view.record.name for view in one.views}
        searched = [i for i, view in enumerate(self.views) if view.record.name in names]
        showing = [i for i in searched if i in self.pattern.boxes]
        return showing, len(showing) / max(1, len(searched))

    def repeats(self, other: Candidate) -> bool:
        """Whether it is what another candidate of these classes and others has found already."""
        if not set(self.targets) <= set(other.targets):
            return False
        boxes = {other.views[i].record.name: box for i, box in other.pattern.boxes.items()}
        overlaps = [
            _overlap(box, boxes[name])
            for i, box in self.pattern.boxes.items()
            if (name := self.views[i].record.name) in boxes
        ]
        return bool(overlaps) and float(np.median(overlaps)) >= _SAME


def can_be_searched(own: int, others: int, tried: int) -> bool:
    """Whether something that all images of a class show, and none of the others, would be significant."""
    return own > 1 and others > 0 and log_best_chance(own - 1, others) + math.log(tried) < math.log(SIGNIFICANCE)


def search_classes(
    context: Context,
    own: list[ClassImages],
    classes: Sequence[ClassImages],
    tried: int,
    left_out: Collection[int] = (),
) -> Candidate | None:
    """What the images of a class, or of several together, have in common, and images of other classes have not.

    Args:
        context: of the check.
        own: the classes that are searched as one.
        classes: all classes.
        tried: how many classes and groups of them are searched, for the correction of the significance.
        left_out: classes with which they are not compared, since some of their images may show it as well.
    """
    settings, targets = context.settings, {one.target for one in own}
    rng = np.random.default_rng([context.seed, *sorted(targets)])
    targets.update(left_out)
    rest = [view for other in classes if other.target not in targets for view in other.views]
    most = int(settings["searched"]) if len(own) == 1 else _OTHERS_OF_GROUP
    others = [rest[i] for i in rng.permutation(len(rest))[:most].tolist()]
    each = max(2, math.ceil(GROUP / len(own))) if len(own) > 1 else None
    views = [view for one in own for view in one.views[:each]]
    if not others or len(views) < settings["class_images"]:
        return None
    size = views[0].pixels.shape[:2]
    search = Search(
        stack_copies([view.pixels for view in views]), stack_copies([view.pixels for view in others]),
        np.stack([heat_of(view.record, context, size) for view in views]),
        float(settings["share"]), float(settings["ratio"]),
        log_tried=math.log(tried) + (0.0 if len(own) == 1 else log_ways(len(classes), len(own))),
    )  # fmt: skip
    patterns = [
        pattern
        for pattern in (find_repeated_patch(search), find_fixed_pattern(search))
        if pattern is not None and heat_ratio(search, pattern) >= _HOT
    ]
    if not patterns:
        return None
    # Of both the repeated patch, whose pixels are known to be the same, unless many more images show the other.
    largest = max(pattern.share for pattern in patterns)
    return Candidate(own, views, next(pattern for pattern in patterns if pattern.share >= _NEARLY * largest))


def _overlap(a: Box, b: Box) -> float:
    """The area that two boxes share over that of their union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / max(1e-12, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def heat_of(record: ImageRecord, context: Context, size: tuple[int, int]) -> np.ndarray:
    """The map at the size of a view; 1 everywhere where there is no heat."""
    heat = record.meaningful_map(context.key)
    return np.ones(size, np.float32) if heat is None else heat.heat(size)


def heat_ratio(search: Search, pattern: Pattern) -> float:
    """The mean heat where the pattern lies over the mean heat of the map; the median of the images that show it."""
    height, width = search.heat.shape[1:3]
    ratios = []
    for i, (x0, y0, x1, y1) in pattern.boxes.items():
        rows = slice(max(0, int((y0 - _REACH) * height)), int(np.ceil((y1 + _REACH) * height)))
        columns = slice(max(0, int((x0 - _REACH) * width)), int(np.ceil((x1 + _REACH) * width)))
        inside = search.heat[i, rows, columns]
        if pattern.mask is not None:
            inside = inside[cv2.resize(pattern.mask.astype(np.uint8), inside.shape[::-1]) > 0]
        ratios.append(float(inside.mean() / max(float(search.heat[i].mean()), 1e-9)))
    return float(np.median(ratios))
