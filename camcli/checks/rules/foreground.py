"""``foreground``: does the model look at the object?

Value: Σ p·G / mean(G), the mass on the object's mask or box G over the share of the view that G covers: 1 for a map
that does not care where the object is, above 1 for one that looks at it, 0 for one that looks elsewhere. Masks and
boxes come from the manifest. Images whose object fills more than ``largest`` of the view are left out: of a region of
share a no map can score above 1/a.

Classes with enough images are judged by themselves too, since a model may cheat on one class only; their intervals are
widened so that all of them together keep the confidence of one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from camcli.checks.context import Context, names
from camcli.checks.distances import mass
from camcli.checks.judge import Words, conclude, ranked, worst_first
from camcli.checks.recorded import Heat, Seen
from camcli.checks.result import Result, skipped
from camcli.checks.settings import Check, Setting

WORDS = Words(
    "heat on the object (1: spread evenly)",
    "The heat is not on the objects: the model decides by something else in these pictures.",
)
NO_REGIONS = "the images have no masks or boxes: run on a manifest with a `mask` or `box` column, or name one with "


def run(context: Context) -> Result:
    if problem := context.regions.problem:
        return skipped("foreground", problem)
    measured = on_object(context)
    if not measured:
        if any(context.regions.foreground(seen) is not None for seen, _ in context.shown()):
            most = f"{context.settings['largest']:g}"
            return skipped("foreground", f"no object lies in the view and covers less than {most} of it")
        return skipped("foreground", f"{NO_REGIONS}--set suite.manifest=FILE")
    images, values = [seen for seen, _ in measured], np.array([value for _, value in measured])
    found = context.judge()({"": values})
    large = large_classes(images, context.settings["class_images"])
    for name in large if len(large) > 1 else ():
        own = np.array([value for seen, value in measured if seen.label == name])
        found += context.judge(tests=len(large), min_images=len(own))({"": own}, group=f"class {name}:")
    worst = worst_first(names(images), values, high_is_bad=False, words="heat on the object {} (1: spread evenly)")
    return conclude(
        "foreground", ranked(found), WORDS, n=len(values), min_images=context.min_images, worst=worst,
        details={"classes": large, "left_out": sum(1 for _ in context.shown()) - len(values)},
    )  # fmt: skip


def on_object(context: Context) -> list[tuple[Seen, float]]:
    """The value of every image that has an object."""
    measured = []
    for seen, heat in context.shown():
        value = _value(context, seen, heat)
        if value is not None:
            measured.append((seen, value))
    return measured


def _value(context: Context, seen: Seen, heat: Heat) -> float | None:
    region = context.regions.foreground(seen)
    if region is None:
        return None
    raw = heat.raw
    cells = context.regions.cells(region, seen, (raw.shape[0], raw.shape[1]))
    share = float(cells.mean())
    if not 0 < share <= float(context.settings.get("largest", 1.0)):
        return None
    return float((mass(raw) * cells).sum()) / share


def large_classes(images: list[Seen], least: int) -> list[str]:
    """The labels with at least so many images."""
    counts = Counter(seen.label for seen in images if seen.label is not None)
    return sorted(name for name, count in counts.items() if count >= least)


CHECK = Check(
    "foreground",
    "does the model look at the object?",
    run,
    {
        "median_min": Setting(1.5, "least median of mass on the object over its share of the view"),
        "p05_min": Setting(0.7, "least 5th percentile of the same"),
        "largest": Setting(0.6, "images whose object covers more of the view than this share are left out"),
        "class_images": Setting(20, "classes with at least so many images are judged by themselves too", int),
    },
)
