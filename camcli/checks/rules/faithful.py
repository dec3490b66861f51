"""``faithful``: does what the map names decide the class, more than what knows nothing of the model?

Value: Insertion − Deletion of an image (see ``camcli.metrics``): the area under the class probability while a blurred
image gets back the pixels the map names first, minus the area while those are taken away. The map has to beat a
``random`` map in ≥ ``wins`` of a sample of images, by a sign test with p < 0.01 (fewer than about 135 images cannot
tell a narrow win from chance, and are inconclusive). Losing to the ``centre`` of the picture or to its edges
(``sobel``) is a warning: it often means that the model is loaded or preprocessed wrongly (another architecture's
weights, another mean, channels swapped) and still names the right class often enough for nobody to notice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from camcli.checks.context import Context, names
from camcli.checks.judge import worst_first
from camcli.checks.reopened import UnavailableError
from camcli.checks.result import Condition, Result, Status, skipped
from camcli.checks.settings import Check, Setting

if TYPE_CHECKING:
    import torch

    from camcli.checks.reopened import Lab

LEVEL = 0.01
RIVALS = ("random", "centre", "sobel")
WARNING = (
    " That is often a model that is loaded or preprocessed wrongly: compare its architecture, --mean, --std and "
    "--resize with those of its training."
)


def run(context: Context) -> Result:
    try:
        tried = context.reopened()
    except UnavailableError as error:
        return skipped("faithful", str(error))
    images = tried.images
    raws = [seen.heats[context.key].raw for seen in images]
    own, *others = areas(context.lab, tried.pixels, raws, tried.targets, tried.seeds, int(context.settings["steps"]))
    first = _against_random(context, own, others[0])
    lost = [rival for rival, theirs in zip(RIVALS[1:], others[1:], strict=True) if loses(own, theirs)]
    status: Status = "warn" if lost and first.status == "pass" else first.status
    medians = {
        name: round(float(np.median(v)), 4) for name, v in zip((context.key[0], *RIVALS), (own, *others), strict=True)
    }
    table = ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
    why = f"beats a random map in {100 * first.value:.0f} % of {first.n} images; median Insertion − Deletion: {table}"
    if first.status != "pass":
        why += f". It should win in {100 * first.threshold:.0f} %, and not by chance"
        why += "; more images would tell" if first.status == "inconclusive" else ": the map does not name what decides"
    if lost:
        why += f". It loses to {' and to '.join(lost)}." + WARNING
    worst = worst_first(names(images), own - others[0], high_is_bad=False, words="better than a random map by {}")
    return Result("faithful", status, why, (first,), len(images), worst, {"median": medians, "lost_to": lost})


def areas(
    lab: Lab, pixels: list[np.ndarray], raws: list[np.ndarray], targets: list[int], seeds: list[int], steps: int
) -> list[np.ndarray]:
    """(N,) Insertion − Deletion of the maps, then of each of :data:`RIVALS`."""
    import torch

    from camcli.metrics.baselines import baseline
    from camcli.metrics.blur import blur
    from camcli.metrics.deletion import deletion
    from camcli.metrics.insertion import insertion

    found: list[list[float]] = [[] for _ in range(1 + len(RIVALS))]
    for i, raw in enumerate(raws):
        inputs, classes, seed = lab.inputs([pixels[i]]), torch.tensor([targets[i]]), [seeds[i]]
        classes = classes.to(inputs.device)
        blurred = blur(inputs)
        maps = [torch.from_numpy(raw)[None].to(inputs.device)]
        maps += [baseline(rival, inputs, (raw.shape[0], raw.shape[1]), seed) for rival in RIVALS]
        ends = [lab.score(x, classes) for x in (blurred, inputs, torch.zeros_like(inputs))]
        for values, one in zip(found, maps, strict=True):
            heat = _unit(one, (inputs.shape[2], inputs.shape[3]))
            gained = insertion(
                inputs, heat, classes, lab.score, seed, steps=steps, blurred=blurred, ends=(ends[0], ends[1])
            )
            lost = deletion(inputs, heat, classes, lab.score, seed, steps=steps, ends=(ends[1], ends[2]))
            values.append(float(gained.area - lost.area))
    return [np.array(values) for values in found]


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
    status: Literal["pass", "fail", "inconclusive"] = "inconclusive"
    if n and share >= limit and sign_test(wins, n) < LEVEL:
        status = "pass"
    elif n >= context.settings["enough"] or (n and sign_test(n - wins, n) < LEVEL):
        status = "fail"
    interval = context.bootstrap().share(wins, n) if n else None
    return Condition("share of images that beat a random map", share, "min", limit, interval, n, status)


def loses(own: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether a rival wins more often than chance would let it."""
    wins, n = _wins(own, theirs)
    return bool(n) and sign_test(n - wins, n) < LEVEL


def _wins(own: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    return int((own > theirs).sum()), int((own != theirs).sum())


def sign_test(wins: int, n: int) -> float:
    """One-sided p: how likely are at least so many wins of n, if either side were as likely to win."""
    favourable: int = sum(math.comb(n, k) for k in range(wins, n + 1))
    return float(favourable / 2**n)


CHECK = Check(
    "faithful",
    "does what the map names decide the class?",
    run,
    {
        "wins": Setting(0.6, "least share of images in which the map beats a random one"),
        "images": Setting(135, "images that are tried", int),
        "enough": Setting(135, "from so many images on a missing win is a failure, before it is inconclusive", int),
        "steps": Setting(16, "parts in which pixels are replaced", int),
    },
    model=True,
    by_default=False,
)
