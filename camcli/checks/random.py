"""``random``: does the map depend on what the model has learnt, and on the class? (Adebayo 2018, arXiv:1810.03292)

Value: Spearman's correlation of the raw, signed map with

- ``weights``: the map of the same class after all weights have been drawn anew, from the top of the network down. Each
  tensor gets normal values of its own mean and deviation, and batch-norm statistics are measured anew, so that signals
  keep their size. The curve on the way down is among the details;
- ``otherclass``: the map of another class, drawn at random, with the trained weights.

High correlation means that the method draws the picture or the architecture rather than the model's knowledge. A map
that vanishes counts as 0. Skipped for methods that are class-agnostic by design.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from camcli.checks.context import Context, names
from camcli.checks.distances import spearman
from camcli.checks.judge import Words, conclude, worst_first
from camcli.checks.lab import UnavailableError
from camcli.checks.result import Result, skipped
from camcli.checks.settings import Check, Setting

if TYPE_CHECKING:
    import torch
    from torch import nn

STAGES = 3
WORDS = Words(
    "rank correlation with maps that should differ",
    "Maps stay much the same without what the model has learnt, or for another class: they show the picture or the "
    "architecture, not the model's reasons. Use another method.",
)


def run(context: Context) -> Result:
    from camcli.methods import METHODS

    method = METHODS.get(context.key[0])
    if method is not None and not method.class_specific:
        return skipped("random", f"{method.key} is class-agnostic: it does not claim to explain a class")
    lab = context.lab
    try:
        pictures = lab.pictures([seen for seen, _ in context.sample(context.shown())])
    except UnavailableError as error:
        return skipped("random", str(error))
    images, pixels = [p.seen for p in pictures], [p.pixels for p in pictures]
    targets, seeds = [seen.heats[context.key].target or 0 for seen in images], lab.seeds(images)
    trained = lab.maps(pixels, targets, seeds)
    curve = []
    for module in randomised(lab.setup.model.module, lab.inputs(pixels[:16]), context.seed):
        values = _correlations(trained, lab.maps(pixels, targets, seeds, lab.explainer(module)))
        curve.append(round(float(np.median(values)), 4))
    metrics = {"weights": values}
    if (classes := lab.setup.model.num_classes or 1) > 1:
        draw = np.random.default_rng(context.seed)
        others = [(target + int(draw.integers(1, classes))) % classes for target in targets]
        metrics["otherclass"] = _correlations(trained, lab.maps(pixels, others, seeds))
    found = context.judge()(metrics)
    highest = np.max(list(metrics.values()), axis=0)
    worst = worst_first(names(images), highest.tolist(), high_is_bad=True, words="correlates by {} with another map")
    return conclude(
        "random", found, WORDS, n=len(images), min_images=context.min_images, worst=worst,
        details={"median_by_stage": curve},
    )  # fmt: skip


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([_correlation(x, y) for x, y in zip(a, b, strict=True)])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return 0.0
    return spearman(a, b) or 0.0


def randomised(module: nn.Module, inputs: torch.Tensor, seed: int) -> list[nn.Module]:
    """Copies of a network whose upper third, upper two thirds, and whole has new weights.

    Args:
        module: the trained network, in eval mode; it is not touched.
        inputs: (N, C, H, W), to measure batch-norm statistics on.
        seed: of the draws.
    """
    import torch

    copies = []
    with torch.random.fork_rng([inputs.device] if inputs.device.type == "cuda" else []), torch.no_grad():
        for stage in range(1, STAGES + 1):
            torch.manual_seed(seed)
            drawn = copy.deepcopy(module)
            own = [m for m in drawn.modules() if any(p.numel() for p in m.parameters(recurse=False))]
            own.reverse()  # modules are registered from the input to the output
            for part in own[: -(-len(own) * stage // STAGES)]:
                for parameter in part.parameters(recurse=False):
                    _redraw(parameter)
            _measure_norms(drawn, inputs)
            copies.append(drawn)
    return copies


def _redraw(parameter: nn.Parameter) -> None:
    if not parameter.is_floating_point() or parameter.numel() < 2:
        return
    values = parameter.float()
    parameter.copy_(values.mean() + values.std() * values.new_empty(values.shape).normal_())


def _measure_norms(module: nn.Module, inputs: torch.Tensor) -> None:
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms or len(inputs) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    module(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


CHECK = Check(
    "random",
    "does the map depend on what the model has learnt?",
    run,
    {
        "weights_median_max": Setting(0.4, "largest median correlation with maps of new random weights"),
        "otherclass_median_max": Setting(0.4, "largest median correlation with maps of another class"),
        "images": Setting(48, "images that are tried", int),
    },
    model=True,
    by_default=False,
)
