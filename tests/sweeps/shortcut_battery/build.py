"""A case as files: images by class, a model with the module that loads it, and the truth."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.sweeps.shortcut_battery.case import Case
from tests.sweeps.shortcut_battery.datasets import Dataset, Sample, make_dataset, place_mark
from tests.sweeps.shortcut_battery.networks import ARCHITECTURES, Architecture
from tests.sweeps.shortcut_battery.train import (
    Prefix,
    as_jpeg,
    fine_tune,
    probabilities,
    train_from_scratch,
)

LEAST_ACCURACY = 0.9
DECIDES, DOES_NOT = 0.3, 0.1
"""Change of the probability from which on a mark decides, and up to which it does not."""
EFFORTS = (1, 2)
"""Multiples of the training: more only where the first did not suffice."""
WITH_IMAGES = 40

Prefixes = dict[str, Prefix]


def build_case(case: Case, photos: Sequence[str], folder: Path, prefixes: Prefixes) -> dict[str, Any]:
    """Train the model of a case and write it with its images; the truth, which is written last."""
    started = time.perf_counter()
    torch.manual_seed(0)
    architecture = ARCHITECTURES[case.architecture]
    dataset = make_dataset(case, photos)
    truth: dict[str, Any] = {}
    for effort in EFFORTS:
        model, prefix = _train(case, dataset, architecture, prefixes, effort)
        truth = _describe(case, dataset) | _measure(case, dataset, model, architecture, prefix)
        if truth["accuracy"] >= LEAST_ACCURACY:
            break
    truth["images"] = _write_images(dataset, folder / "images")
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    torch.save(state, folder / "weights.pt")
    architecture.write_factory(folder)
    truth["seconds"] = round(time.perf_counter() - started, 1)
    partial = folder / "truth.json.part"
    partial.write_text(json.dumps(truth, indent=1))
    os.replace(partial, folder / "truth.json")
    return truth


def _train(
    case: Case, dataset: Dataset, architecture: Architecture, prefixes: Prefixes, effort: int
) -> tuple[nn.Module, Prefix | None]:
    model = architecture.build(len(dataset.classes)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not architecture.is_pretrained:
        train_from_scratch(model, architecture, case, dataset, effort)
        return model, None
    architecture.load_pretrained(model)
    if case.architecture not in prefixes:
        frozen = architecture.build(2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        architecture.load_pretrained(frozen)
        prefixes[case.architecture] = Prefix(architecture, frozen.eval())
    fine_tune(model, prefixes[case.architecture], case, dataset, effort)
    return model, prefixes[case.architecture]


def _describe(case: Case, dataset: Dataset) -> dict[str, Any]:
    return {
        "case": case.name,
        "half": case.half,
        "kind": case.kind,
        "planted": case.is_planted,
        "architecture": case.architecture,
        "classes": list(dataset.classes),
        "marks": [
            {
                "class": dataset.classes[plan.label],
                "kind": plan.mark.kind,
                "size": [plan.mark.width, plan.mark.height],
                "placement": "anywhere" if plan.place is None else "fixed",
                "share": plan.share,
            }
            for plan in case.plans
        ],
    }


def _measure(
    case: Case, dataset: Dataset, model: nn.Module, architecture: Architecture, prefix: Prefix | None
) -> dict[str, Any]:
    """Accuracy on the images that are checked, and what each mark does to the probability of its class."""

    def predict(samples: Sequence[Sample]) -> np.ndarray:
        return probabilities(model, architecture, [sample.scene for sample in samples], prefix)

    checked, rng = dataset.checked, np.random.default_rng(11)
    own, labels = predict(checked), np.array([sample.label for sample in checked])
    accuracy = float((own.argmax(1) == labels).mean())
    effects = {}
    for plan in case.plans:
        marked = [i for i, sample in enumerate(checked) if sample.label == plan.label and sample.scene.marks]
        others = [i for i, sample in enumerate(checked) if sample.label != plan.label]
        others = [others[i] for i in rng.permutation(len(others))[:WITH_IMAGES]]
        without = predict([_with(checked[i], ()) for i in marked])[:, plan.label]
        pasted = predict([_with(checked[i], (place_mark(plan, rng),)) for i in others])[:, plan.label]
        falls, rises = own[marked, plan.label] - without, pasted - own[others, plan.label]
        effects[dataset.classes[plan.label]] = {
            "without": round(float(np.mean(falls)), 4),
            "with": round(float(np.mean(rises)), 4),
            "without_share": round(float((falls >= DECIDES).mean()), 3),
            "with_share": round(float((rises >= DECIDES).mean()), 3),
        }
    largest = [max(effect["without"], effect["with"]) for effect in effects.values()]
    meant = all(value >= DECIDES for value in largest) if case.is_planted else all(v <= DOES_NOT for v in largest)
    return {"accuracy": accuracy, "effects": effects, "valid": bool(meant and accuracy >= LEAST_ACCURACY)}


def _with(sample: Sample, marks: tuple[Any, ...]) -> Sample:
    return replace(sample, scene=replace(sample.scene, marks=marks))


def _write_images(dataset: Dataset, folder: Path) -> dict[str, Any]:
    rows = {}
    for i, sample in enumerate(dataset.checked):
        name = f"{dataset.classes[sample.label]}/{i:04d}.jpg"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_jpeg(sample.scene.render()))
        boxes = [[round(edge, 4) for edge in placed.box] for placed in sample.scene.marks]
        rows[name] = {"boxes": boxes, "photo": Path(sample.scene.photo).name, "view": sample.scene.view}
    return rows
