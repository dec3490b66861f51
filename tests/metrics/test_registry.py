"""Every metric of the registry against loops over single images. A new metric is one more entry of ``NAIVE``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import torch

import camcli.metrics
from camcli.evaluation.measure import parameters
from camcli.map_summary import entropy
from camcli.metrics import METRICS, Images, Sample, find_metrics
from camcli.metrics.blur import blur
from camcli.metrics.gridpg import grid_pointing
from tests.metrics.standin import HEIGHT, WIDTH, LinearScorer, classes, heats, inputs
from tests.metrics.test_localisation_and_complexity import naive_hits
from tests.metrics.test_perturbation_curves import naive_area
from tests.metrics.test_road import naive_road

STEPS = 7
BOX = (4, 6, 12, 15)
"""x0, y0, x1, y1 of every object."""


@dataclass(frozen=True)
class One:
    """One image as arrays."""

    x: np.ndarray
    heat: np.ndarray
    native: np.ndarray
    again: np.ndarray
    chosen: int
    seed: int

    def probability(self, x: np.ndarray) -> float:
        return LinearScorer().one(x, self.chosen)

    @property
    def blurred(self) -> np.ndarray:
        return blur(torch.from_numpy(self.x)[None])[0].numpy()

    @property
    def mass(self) -> np.ndarray:
        return np.maximum(self.native.astype(np.float64), 0)


def deletion(one: One) -> float:
    return naive_area(one.x, np.zeros_like(one.x), one.heat, one.chosen, STEPS)


def insertion(one: One) -> float:
    return naive_area(one.blurred, one.x, one.heat, one.chosen, STEPS)


def drop(one: One) -> float:
    y, o = one.probability(one.x), one.probability(one.x * one.heat)
    return max(0.0, y - o) / y


def gain(one: One) -> float:
    y, o = one.probability(one.x), one.probability(one.x * one.heat)
    return max(0.0, o - y) / (1 - y)


def adcc(one: One) -> float:
    pearson = np.corrcoef(one.heat.ravel(), one.again.ravel())[0, 1]
    return 3 / (2 / (pearson + 1) + 1 / (1 - one.heat.mean()) + 1 / (1 - drop(one)))


def pointing(one: One) -> float:
    row, column = np.unravel_index(one.heat.argmax(), one.heat.shape)
    across = max(BOX[0] - column, column - BOX[2] + 1, 0)
    down = max(BOX[1] - row, row - BOX[3] + 1, 0)
    return float(np.hypot(across, down) <= 15 * min(one.heat.shape) / 224)


def energy(one: One) -> float:
    return float(one.heat[BOX[1] : BOX[3], BOX[0] : BOX[2]].sum() / one.heat.sum())


def sparsity(one: One) -> float:
    cells = one.mass.ravel()
    return float(sum(abs(a - b) for a in cells for b in cells) / (2 * len(cells) ** 2 * cells.mean()))


NAIVE: dict[str, Callable[[One], Any]] = {
    "ins-del": lambda one: insertion(one) - deletion(one),
    "insertion": insertion,
    "deletion": deletion,
    "road": lambda one: naive_road(one.x, one.heat, one.chosen, one.seed),
    "drop": drop,
    "increase": lambda one: float(one.probability(one.x * one.heat) > one.probability(one.x)),
    "gain": gain,
    "win": drop,  # compared among rows afterwards
    "adcc": adcc,
    "pointing": pointing,
    "energy": energy,
    "maxboxacc": lambda one: naive_hits(one.heat, BOX).ravel(),
    "sparsity": sparsity,
    "entropy": lambda one: entropy(one.mass / one.mass.sum()),
}
"""What a metric gives for one image. Metrics of mosaics are tested with mosaics."""


def sample() -> tuple[Sample, list[One]]:
    x, heat, chosen, again = inputs(), heats(), classes(), heats(seed=2)
    native = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(3))
    regions = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    regions[:, BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    seeds = [0, 1, 2]
    images = Images(x, chosen, seeds, regions, LinearScorer(), STEPS, batch=4)
    single = [
        One(x[i].numpy(), heat[i].numpy(), native[i].numpy(), again[i].numpy(), int(chosen[i]), seeds[i])
        for i in range(3)
    ]
    return Sample(images, native, heat, lambda _: again), single


@pytest.mark.parametrize("key", NAIVE)
def test_a_metric_is_its_loop(key: str) -> None:
    batch, single = sample()
    measure = METRICS[key].measure
    assert measure is not None
    for value, one in zip(measure(batch), single, strict=True):
        assert value.numpy() == pytest.approx(NAIVE[key](one), abs=1e-4)


def modules() -> list[str]:
    """The modules that describe a metric."""
    names = [module.name for module in iter_modules(camcli.metrics.__path__)]
    return [name for name in names if hasattr(import_module(f"camcli.metrics.{name}"), "METRIC")]


@pytest.mark.parametrize("name", modules())
def test_every_module_with_a_metric_is_registered_under_its_key(name: str) -> None:
    metric = import_module(f"camcli.metrics.{name}").METRIC
    assert METRICS[metric.key] is metric
    assert name == metric.key.replace("-", "")


@pytest.mark.parametrize("key", METRICS)
def test_an_entry_is_complete(key: str) -> None:
    metric = METRICS[key]
    assert (key in NAIVE) == (metric.needs != "mosaics"), "give it a loop in the tests"
    assert find_metrics([key]) == (metric,)
    assert metric.name
    assert metric.paper
    assert metric.better == "neither" or metric.group != "Complexity"
    assert metric.exclusion is None or f"leave {metric.name.removesuffix(' %')}" in metric.exclusion.reason
    assert metric.as_json()["key"] == key


def test_parameters_of_all_metrics_are_named_after_them() -> None:
    assert set(parameters(224, 224)) <= set(METRICS)


def test_mosaics_have_a_metric_of_their_own() -> None:
    assert [metric.key for metric in METRICS.values() if metric.measure is None] == ["gridpg"]
    assert grid_pointing(torch.ones(4, 6, 6), 2).tolist() == [0.25] * 4


def test_passes_through_the_model_are_shared_between_metrics() -> None:
    batch, _ = sample()
    for metric in METRICS.values():
        if metric.measure is not None and metric.key != "road":
            batch.once(metric.measure)
    scored = sum(batch.images.scorer.batches)  # type: ignore[attr-defined]
    ends, inner, masked = 3 * 3, 3 * 2 * (STEPS - 1), 3
    assert scored == ends + inner + masked
