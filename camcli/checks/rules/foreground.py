"""``foreground``: does the model look at the object?

Value: Σ p·G / mean(G), the mass on the object's mask or box G over the share of the view that G covers: 1 for a map
that is independent of the object, above 1 for one that lies on it, 0 for one that lies elsewhere. Masks and
boxes come from the manifest. Images whose object fills more than ``largest`` of the view are left out: of a region of
share a no map can score above 1/a.

Classes with enough images are judged by themselves too, since a model may use a shortcut for one class only; their
intervals are widened so that all of them together keep the confidence of one.
"""

from collections import Counter

import numpy as np

from camcli.checks.context import Context
from camcli.checks.judge import Words
from camcli.checks.manifest_regions import relative_mass
from camcli.checks.recorded import ImageRecord
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting

WORDS = Words(
    "heat on the object (1: spread evenly)",
    "The heat is not on the objects: the model decides by something else in these pictures.",
    "heat on the object {} (1: spread evenly)",
)
NO_REGIONS = "the images have no masks or boxes: run on a manifest with a `mask` or `box` column, or name one with "


def run(context: Context) -> Result:
    if problem := context.regions.problem:
        return skip("foreground", problem)
    images, values = measure_objects(context)
    if not images:
        if any(context.regions.foreground(record) is not None for record, _ in context.meaningful_maps()):
            most = f"{context.settings['largest']:g}"
            return skip("foreground", f"no object lies in the view and covers less than {most} of it")
        return skip("foreground", f"{NO_REGIONS}--set suite.manifest=FILE")
    judge, large = context.judge(), large_classes(images, context.settings["class_images"])
    conditions = judge({"": values})
    for name in large if len(large) > 1 else ():
        own = values[[record.label == name for record in images]]
        conditions += context.judge(tests=len(large), min_images=len(own))({"": own}, group=f"class {name}:")
    details = {"classes": large, "left_out": len(context.meaningful_maps()) - len(images)}
    return judge.conclude("foreground", conditions, WORDS, images, values, high_is_bad=False, details=details)


def measure_objects(context: Context) -> tuple[list[ImageRecord], np.ndarray]:
    """The images that have an object, and their values (n,)."""
    largest, regions = float(context.settings.get("largest", 1.0)), context.regions
    return context.measure(lambda record, heat: relative_mass(heat.raw, regions.foreground(record), record, largest))


def large_classes(images: list[ImageRecord], least: int) -> list[str]:
    """The labels with at least so many images."""
    counts = Counter(record.label for record in images if record.label is not None)
    return sorted(name for name, count in counts.items() if count >= least)


SETTINGS = {
    "median_min": Setting(1.5, "least median of mass on the object over its share of the view", low=0),
    "p05_min": Setting(0.7, "least 5th percentile of the same", low=0),
    "largest": Setting(0.6, "images whose object covers more of the view than this share are left out", low=0, high=1),
    "class_images": Setting(20, "classes with at least so many images are judged by themselves too", int),
}
CHECK = Check("foreground", "does the model look at the object?", run, SETTINGS)
