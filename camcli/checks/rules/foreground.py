"""``foreground``: does the model look at the object?

Value: Σ p·G / mean(G), the mass on the object's mask or box G over the share of the view that G covers: 1 for a map
that is independent of the object, above 1 for one that lies on it, 0 for one that lies elsewhere. Masks and
boxes come from the manifest. Images whose object fills more than ``largest`` of the view are left out: of a region of
share a no map can score above 1/a.

Classes with enough images are judged by themselves too, since a model may use a shortcut for one class only; their
intervals are widened so that all of them together keep the confidence of one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from camcli.checks.context import Context, image_names
from camcli.checks.distances import mass
from camcli.checks.judge import Words, conclude, rank_conditions, rank_images
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting

WORDS = Words(
    "heat on the object (1: spread evenly)",
    "The heat is not on the objects: the model decides by something else in these pictures.",
)
NO_REGIONS = "the images have no masks or boxes: run on a manifest with a `mask` or `box` column, or name one with "


def run(context: Context) -> Result:
    if problem := context.regions.problem:
        return skip("foreground", problem)
    measured = measure_objects(context)
    if not measured:
        if any(context.regions.foreground(record) is not None for record, _ in context.meaningful_maps()):
            most = f"{context.settings['largest']:g}"
            return skip("foreground", f"no object lies in the view and covers less than {most} of it")
        return skip("foreground", f"{NO_REGIONS}--set suite.manifest=FILE")
    images, values = [record for record, _ in measured], np.array([value for _, value in measured])
    conditions = context.judge()({"": values})
    large = large_classes(images, context.settings["class_images"])
    for name in large if len(large) > 1 else ():
        own = np.array([value for record, value in measured if record.label == name])
        conditions += context.judge(tests=len(large), min_images=len(own))({"": own}, group=f"class {name}:")
    worst = rank_images(
        image_names(images), values, high_is_bad=False, words="heat on the object {} (1: spread evenly)"
    )
    return conclude(
        "foreground", rank_conditions(conditions), WORDS, n=len(values), min_images=context.min_images, worst=worst,
        details={"classes": large, "left_out": sum(1 for _ in context.meaningful_maps()) - len(values)},
    )  # fmt: skip


def measure_objects(context: Context) -> list[tuple[ImageRecord, float]]:
    """The value of every image that has an object."""
    measured = []
    for record, heat in context.meaningful_maps():
        value = _value(context, record, heat)
        if value is not None:
            measured.append((record, value))
    return measured


def _value(context: Context, record: ImageRecord, heat: SaliencyMap) -> float | None:
    region = context.regions.foreground(record)
    if region is None:
        return None
    raw = heat.raw
    cells = context.regions.cells(region, record, (raw.shape[0], raw.shape[1]))
    share = float(cells.mean())
    if not 0 < share <= float(context.settings.get("largest", 1.0)):
        return None
    return float((mass(raw) * cells).sum()) / share


def large_classes(images: list[ImageRecord], least: int) -> list[str]:
    """The labels with at least so many images."""
    counts = Counter(record.label for record in images if record.label is not None)
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
