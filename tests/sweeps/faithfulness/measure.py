"""The three parts that are measured of each contender on each model: figures, randomised weights, cost."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from camcli.checks.distances import spearman
from camcli.checks.rules.reinitialise import reinitialise
from camcli.evaluation.entries import on_grid
from camcli.evaluation.measure import measure
from camcli.evaluation.mosaics import measure_mosaics
from camcli.explainer import Explainer
from camcli.methods import METHODS
from camcli.metrics import METRICS, Sample
from camcli.metrics.substrate import SUBSTRATES
from camcli.pipeline.at_speed import at_speed
from tests.sweeps.faithfulness.contenders import Contender
from tests.sweeps.faithfulness.session import Batch, Explained, Session

USUAL = {"insertion": "blur", "deletion": "zero"}
"""The substrates of the curves where none is asked for."""
OF_MAPS = ("road", "drop", "sparsity")
STAGES = 3
ROUNDS = 3

Values = dict[str, Any]


def figures(session: Session, contender: Contender) -> Values:
    """The metrics of an evaluation, one value an image (a mosaic for GridPG)."""
    plan = session.plan
    with session.opened(contender) as explained:
        count = plan.images_for(explained.passes)
        values: dict[str, list[float]] = {}
        degenerate = 0
        for batch in session.batches(count):
            maps = explained.maps(batch)
            degenerate += int(maps.degenerate.sum())
            native = on_grid(maps.native, session.base.layers[0].layout.grid)
            for key, array in _of_batch(session, batch, native, maps.heat).items():
                values.setdefault(key, []).extend(_rounded(array))
        mosaics, note = _gridpg(session, explained, count)
        return {
            "images": session.names[:count], "values": {**values, "gridpg": mosaics}, "gridpg_note": note,
            "degenerate": degenerate, "passes": explained.passes, "cost": explained.documented_cost,
            "layer": explained.entry.layer_path, "classes": session.classes[:count].tolist(),
            "steps": plan.steps, "other_steps": plan.other_steps,
        }  # fmt: skip


def _of_batch(session: Session, batch: Batch, native: torch.Tensor, heat: torch.Tensor) -> dict[str, np.ndarray]:
    """By metric, or by curve and substrate."""
    plan, values = session.plan, {}
    for substrate in SUBSTRATES:
        for curve, usual in USUAL.items():
            steps = plan.steps if substrate == usual else plan.other_steps
            sample = Sample(session.images(batch, substrate, steps), native, heat, _none)
            values[f"{curve}.{substrate}"] = measure([METRICS[curve]], sample)[curve]
    sample = Sample(session.images(batch, None, plan.steps), native, heat, _none)
    return values | measure([METRICS[key] for key in OF_MAPS], sample)


def _none(_: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("maps of masked images, which only ADCC asks for")


def _gridpg(session: Session, explained: Explained, count: int) -> tuple[list[float], str | None]:
    """One value a mosaic; slow methods get mosaics of fewer photographs."""
    is_slow = explained.passes >= session.plan.slow
    if explained.passes >= session.plan.slowest:
        return [], "left out: too many passes"
    candidates = session.candidates(count if is_slow else session.plan.candidates)
    result = measure_mosaics(explained.setup, [explained.entry], candidates)
    values = result.values.get(explained.entry.name)
    return [] if values is None else _rounded(values), result.missing or result.shrunk


def randomised(session: Session, contender: Contender) -> Values:
    """Rank correlation of maps with those of re-initialised weights by stage, and of another class.

    As ``cam check --only random`` measures them.
    """
    plan, curve = session.plan, []
    with session.opened(contender) as explained:
        if contender.is_baseline:
            return {"why": "no weights"}
        if explained.passes >= plan.slowest:
            return {"why": "left out: too many passes"}
        is_slow = explained.passes >= plan.slow
        count = max(2, plan.slow_images // 2) if is_slow else min(plan.images, plan.random_images)
        batches = list(session.batches(count))
        trained = [explained.native(batch) for batch in batches]
        setup = explained.setup
        for stage in range(1, STAGES + 1):
            other = _explainer_of(
                explained, reinitialise(setup.model.module, batches[0].inputs, plan.seed, stage / STAGES)
            )
            maps = [explained.native(batch, explainer=other) for batch in batches]
            curve.append(_correlations(trained, maps))
        own: dict[str, list[float | None]] = {"weights": curve[-1]}
        if METHODS[contender.method].class_specific:
            draw = np.random.default_rng(plan.seed)
            classes = setup.model.num_classes or 1
            changed = [(b.classes.cpu() + torch.tensor(draw.integers(1, classes, len(b)))) % classes for b in batches]
            others = [explained.native(b, classes=c) for b, c in zip(batches, changed, strict=True)]
            own["otherclass"] = _correlations(trained, others)
        medians = [None if not (kept := _defined(one)) else statistics.median(kept) for one in curve]
        return {"values": own, "median_by_stage": medians, "images": session.names[:count]}


def _explainer_of(explained: Explained, module: nn.Module) -> Explainer:
    setup = explained.setup
    model = dataclasses.replace(setup.model, module=module)
    options = dataclasses.replace(setup.explain_options, one_at_a_time=setup.model.is_alone)
    return Explainer(model, setup.layers, setup.config.method, options)


def _correlations(a: list[torch.Tensor], b: list[torch.Tensor]) -> list[float | None]:
    pairs = zip(torch.cat(a).numpy(), torch.cat(b).numpy(), strict=True)
    return [spearman(x, y) if np.isfinite([x, y]).all() else None for x, y in pairs]


def _defined(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def cost(session: Session, contender: Contender) -> Values:
    """Time of a map, and of a forward pass of the same batch in turn; processor time on a CPU, else wall time."""
    plan = session.plan
    with session.opened(contender) as explained:
        result: Values = {"passes": explained.passes, "cost": explained.documented_cost, "unit": _clock_name(session)}
        if contender.is_baseline:
            return result
        if explained.passes >= plan.slowest:
            return result | {"why": "not measured: too many passes"}
        is_slow = explained.passes >= plan.slow
        (batch,) = session.batches(1 if is_slow else plan.batch, plan.batch)
        with at_speed(explained.setup) as setup:
            inputs = setup.tuning.arrange(batch.inputs)

            def forward() -> None:
                with torch.inference_mode():
                    setup.model.module(inputs)

            def explain() -> None:
                setup.explainer(inputs, lambda _: batch.classes[:, None], batch.seeds)

            times = _in_turn(forward, explain, 1 if is_slow else ROUNDS, setup.device)
        one, many = (1000 * statistics.median(own) / len(batch) for own in times)
        return result | {"forward_ms": one, "milliseconds": many, "measured_passes": many / one, "images": len(batch)}


def _clock_name(session: Session) -> str:
    return "processor time" if session.base.device.type == "cpu" else "wall time"


def _in_turn(
    forward: Callable[[], None], explain: Callable[[], None], rounds: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds of both, after a first call of each that does not count; a single round of a slow method is its first."""
    times: tuple[list[float], list[float]] = ([], [])
    forward()
    if rounds > 1:
        explain()
    for _ in range(rounds):
        for call, own, again in ((forward, times[0], 3), (explain, times[1], 1)):
            for _ in range(again):
                start = _now(device)
                call()
                own.append(_now(device) - start)
    return times


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values[:, 0]]


PARTS = {"figures": figures, "random": randomised, "cost": cost}
