"""``faithful``: are the pixels that the map ranks first decisive for the class, more than those of baselines?

Value: Insertion − Deletion of an image (see ``camcli.metrics``): the area under the class probability while a blurred
image gets back the pixels that the map ranks first, minus the area while those are removed. The map has to beat a
``random`` map in ≥ ``wins`` of a sample of images, by a sign test with p < 0.01 (with fewer than about 135 images a
narrow win is not significant, and the check is inconclusive). Losing to the ``centre`` of the picture or to its edges
(``sobel``) is a warning: it often means that the model is loaded or preprocessed wrongly (another architecture's
weights, another mean, channels swapped) and still predicts the right class often enough for nobody to notice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from camcli.checks.context import Context, ReopenedImages
from camcli.checks.judge import rank_images
from camcli.checks.reopened import ReopenedModel
from camcli.checks.result import Condition, Result, Status
from camcli.checks.settings import Check, Setting

if TYPE_CHECKING:
    import torch

LEVEL = 0.01
BASELINES = ("random", "centre", "sobel")
WARNING = (
    " That is often a model that is loaded or preprocessed wrongly: compare its architecture, --mean, --std and "
    "--resize with those of its training."
)


def run(context: Context) -> Result:
    opened = context.open_images()
    images = opened.images
    raws = [record.maps[context.key].raw for record in images]
    own, *others = measure_areas(context.reopened, opened, raws, int(context.settings["steps"]))
    first = _against_random(context, own, others[0])
    lost = [baseline for baseline, theirs in zip(BASELINES[1:], others[1:], strict=True) if loses(own, theirs)]
    status: Status = "warn" if lost and first.status == "pass" else first.status
    areas = zip((context.key[0], *BASELINES), (own, *others), strict=True)
    medians = {name: round(float(np.median(values)), 4) for name, values in areas}
    table = ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
    why = f"beats a random map in {100 * first.value:.0f} % of {first.n} images; median Insertion − Deletion: {table}"
    if first.n < len(images):
        why += (
            f"; {len(images) - first.n} other images decide nothing: removing pixels does not change their probability"
        )
    if first.status != "pass":
        why += f". It should win in {100 * first.threshold:.0f} %, and not by chance"
        why += "; more images would decide" if first.status == "inconclusive" else ": it does not show what decides"
    if lost:
        why += f". It loses to {' and to '.join(lost)}." + WARNING
    worst = rank_images(images, own - others[0], high_is_bad=False, words="better than a random map by {}")
    return Result("faithful", status, why, (first,), len(images), worst, {"median": medians, "lost_to": lost})


def measure_areas(
    reopened: ReopenedModel, images: ReopenedImages, raws: list[np.ndarray], steps: int
) -> list[np.ndarray]:
    """(N,) Insertion − Deletion of the maps, then of each of :data:`BASELINES`."""
    import torch

    from camcli.metrics.baselines import baseline
    from camcli.metrics.blur import blur
    from camcli.metrics.deletion import deletion
    from camcli.metrics.insertion import insertion

    areas: list[list[float]] = [[] for _ in range(1 + len(BASELINES))]
    for i, raw in enumerate(raws):
        inputs, seed = reopened.inputs([images.pixels[i]]), [images.seeds[i]]
        classes = torch.tensor([images.targets[i]]).to(inputs.device)
        blurred = blur(inputs)
        maps = [torch.from_numpy(raw)[None].to(inputs.device)]
        maps += [baseline(key, inputs, (raw.shape[0], raw.shape[1]), seed) for key in BASELINES]
        ends = [reopened.score(x, classes) for x in (blurred, inputs, torch.zeros_like(inputs))]
        for values, one in zip(areas, maps, strict=True):
            heat = _unit(one, (inputs.shape[2], inputs.shape[3]))
            gained = insertion(
                inputs, heat, classes, reopened.score, seed, steps=steps, start=blurred, ends=(ends[0], ends[1])
            )
            lost = deletion(inputs, heat, classes, reopened.score, seed, steps=steps, ends=(ends[1], ends[2]))
            values.append(float(gained.area - lost.area))
    return [np.array(values) for values in areas]


def _unit(raw: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """relu, to [0, 1], upsampled to the input: (1, H, W)."""
    import torch.nn.functional as F

    heat = raw.clamp(min=0).float()
    heat = (heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-12)
    return F.interpolate(heat[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _against_random(context: Context, own: np.ndarray, random: np.ndarray) -> Condition:
    wins, n = _wins(own, random)
    limit = float(context.settings["wins"])
    share = wins / n if n else 0.0
    status: Status = "inconclusive"
    enough = n >= max(1, context.min_images)
    if enough and share >= limit and sign_test(wins, n) < LEVEL:
        status = "pass"
    elif enough and (n >= context.settings["enough"] or sign_test(n - wins, n) < LEVEL):
        status = "fail"
    interval = context.bootstrap().share(wins, n) if n else None
    return Condition("share of images that beat a random map", share, "min", limit, interval, n, status)


def loses(own: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether a baseline wins significantly more often."""
    wins, n = _wins(own, theirs)
    return bool(n) and sign_test(n - wins, n) < LEVEL


def _wins(own: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """Images that are won, and images that are decided: ties and what is not finite are evidence for nothing."""
    decided = np.isfinite(own) & np.isfinite(theirs) & (own != theirs)
    return int((own > theirs)[decided].sum()), int(decided.sum())


def sign_test(wins: int, n: int) -> float:
    """One-sided p: how likely are at least so many wins of n, if either side were as likely to win."""
    favourable: int = sum(math.comb(n, k) for k in range(wins, n + 1))
    return float(favourable / 2**n)


SETTINGS = {
    "wins": Setting(0.6, "least share of images in which the map beats a random one", low=0, high=1),
    "images": Setting(135, "images that are tried", int),
    "enough": Setting(135, "from so many images on a missing win is a failure, before it is inconclusive", int),
    "steps": Setting(16, "parts in which pixels are replaced", int),
}
QUESTION = "do the pixels that the map ranks first decide the class?"
CHECK = Check("faithful", QUESTION, run, SETTINGS, model=True, by_default=False, probability=True)
