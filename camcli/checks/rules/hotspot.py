"""``hotspot``: does the model recognise a class by one fixed region, such as a watermark, a logo, a ruler?

Two stages, and only both together fail:

1. A region of at most ``area`` of the map (a window of cells) that holds the peak in ≥ ``share`` of a class's images,
   and ``ratio`` times more often than in the images of all other classes. Its significance is tested too
   (hypergeometric tail, Bonferroni over windows and classes), since with few images some window always stands out.
2. Cause: in these images the region, with the neighbouring cells that are about as hot on average (at most ``paint``
   of the map: a mark is rarely as small as the peak), is painted over from its surroundings (Gaussian, σ 20 at 224);
   the class's probability falls by ≥ ``drop`` in ≥ ``cause`` of them.
"""

from typing import Any

import numpy as np

from camcli.checks.context import Context
from camcli.checks.judge import rank_conditions
from camcli.checks.recorded import ImageRecord
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import Condition, Result, Status, WorstImage
from camcli.checks.rules.hotspot_search import Spot, find_spots, hot_cells, paint_over
from camcli.checks.settings import Check, Setting

LEAST_CAUSE = 5
"""Images that the test of cause needs."""


def run(context: Context) -> Result:
    def conclude(status: Status, why: str, **details: Any) -> Result:
        return Result("hotspot", status, why, n=len(images), details=details)

    settings, images = context.settings, [pair for pair in context.meaningful_maps() if pair[1].target is not None]
    if len(images) < context.min_images:
        return conclude("inconclusive", f"only {len(images)} images where {context.min_images} are needed to decide")
    grid = images[0][1].raw.shape
    if grid[0] * grid[1] * settings["area"] < 1:
        why = f"a cell of the {grid[0]}×{grid[1]} map is larger than {100 * settings['area']:g} % of it"
        return conclude("inconclusive", why)
    counts = np.unique([heat.target for _, heat in images], return_counts=True)[1]
    if len(counts) < 2 or counts.max() < settings["class_images"]:
        why = f"it takes two classes, one with {settings['class_images']} images, to tell a spot from where objects are"
        return conclude("inconclusive", why)
    spots = find_spots(images, settings)
    if not spots:
        return conclude("pass", "no class has its maximum in one region where others have not")
    try:
        return _test_cause(context, spots, len(images))
    except UnavailableError as error:
        why = f"{_sentence(spots[0])}; whether it is the cause cannot be tested: {error}"
        return conclude("inconclusive", why, spots=[spot.as_json() for spot in spots])


def _test_cause(context: Context, spots: list[Spot], n: int) -> Result:
    judge = context.judge(min_images=min(LEAST_CAUSE, context.min_images))
    tests: list[tuple[Spot, Condition, list[tuple[ImageRecord, float]]]] = []
    for spot in spots:
        falls = sorted(probability_falls(context, spot), key=lambda pair: -pair[1])
        hits = sum(fall >= context.settings["drop"] for _, fall in falls)
        interval = context.bootstrap().share(hits, len(falls))
        name = f"{spot.name}: share of images that depend on the region"
        limit = context.settings["cause"]
        tests.append((spot, judge.condition(name, hits / len(falls), "max", limit, interval, len(falls)), falls))
    conditions = rank_conditions([condition for _, condition, _ in tests])
    status = conditions[0].status
    spot, first, _ = next(entry for entry in tests if entry[1] is conditions[0])
    drop, share = context.settings["drop"], 100 * first.value
    lost = f"painting that region over lowers the probability by {drop:g} in {share:.0f} %"
    why = f"{_sentence(spot)}; {lost} of {first.n} images" + {
        "pass": ": not the cause",
        "fail": f", at most {100 * first.threshold:g} % may. Look there for a watermark, a logo, a ruler or a frame.",
    }.get(status, ": too few, or too close to decide")
    details = [{**one.as_json(), "caused": condition.value} for one, condition, _ in tests]
    worst = [
        WorstImage(record.image, record.source, fall, f"{one.name} falls by {fall:.2f} without the {one.place}")
        for one, condition, falls in tests
        if condition.status != "pass"
        for record, fall in falls[:6]
    ]
    return Result("hotspot", status, why, tuple(conditions), n, tuple(worst[:6]), {"spots": details})


def _sentence(spot: Spot) -> str:
    return (
        f"{100 * spot.share:.0f} % of the maps of {spot.name!r} have their peak at the {spot.place} "
        f"({100 * spot.others:.0f} % of the others')"
    )


def probability_falls(context: Context, spot: Spot) -> list[tuple[ImageRecord, float]]:
    """By how much the class's probability falls in each image when the region is painted over."""
    import torch

    chosen = context.sample([(record, record.maps[context.key]) for record in spot.images])
    cells = hot_cells([heat.raw for _, heat in chosen], spot, context.settings["paint"])
    reopened = context.reopened
    falls: list[tuple[ImageRecord, float]] = []
    for picture in reopened.pictures([record for record, _ in chosen]):
        inputs = reopened.inputs([picture.pixels])
        covered = inputs.clone()
        covered[0] = covered.new_tensor(paint_over(inputs[0].cpu().numpy(), cells))
        target = torch.tensor([spot.target], device=inputs.device)
        before, after = (float(reopened.score(x, target)) for x in (inputs, covered))
        falls.append((picture.record, before - after))
    return falls


SETTINGS = {
    "share": Setting(0.3, "least share of a class's images whose peak lies in the region"),
    "ratio": Setting(3.0, "how many times more often than in other classes"),
    "area": Setting(0.05, "largest region, as a share of the map"),
    "drop": Setting(0.2, "fall of the probability that counts, 0 to 1"),
    "cause": Setting(0.3, "largest share of these images whose probability may fall by that much"),
    "paint": Setting(0.15, "largest share of the map that is painted over"),
    "class_images": Setting(10, "classes with fewer images are not judged", int),
    "images": Setting(32, "images a class that the test of cause takes", int),
}
CHECK = Check(
    "hotspot", "does the model recognise a class by one fixed region?", run, SETTINGS, model=True, probability=True
)
