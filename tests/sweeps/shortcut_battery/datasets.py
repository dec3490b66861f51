"""The images of a case: those that are checked, and those that its model is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.sweeps.shortcut_battery.case import GROUPS, Case, Plan
from tests.sweeps.shortcut_battery.scenes import Placed, Scene

CLASS_IMAGES = 100
"""Images of a class that are checked."""
MANY = 20
MARKED = 30
"""Images of the marked class among 20."""
CHECKED_VIEW, WITH_VIEW = 1000, 2000
"""First number of the views that are checked; views below it are for training."""
NAMES = {
    "tune": ("alpha", "beta"),
    "report": ("kestrel", "quarry"),
}


@dataclass(frozen=True)
class Sample:
    scene: Scene
    label: int


@dataclass(frozen=True)
class Dataset:
    """What a case consists of.

    Attributes:
        classes: their names.
        checked: the images that are written.
        training: without the marks of planted shortcuts; ``stickers`` are added to them while a model is trained.
        stickers: whether what carries a mark belongs to the mark's class, whatever it shows.
    """

    classes: tuple[str, ...]
    checked: list[Sample]
    training: list[Sample]
    stickers: bool


def photos_of(photos: Sequence[str], half: str) -> list[str]:
    """Every other photograph: the two halves share none."""
    return list(photos[0 if half == "tune" else 1 :: 2])


def place_mark(plan: Plan, rng: np.random.Generator) -> Placed:
    scale = 1 + plan.jitter * rng.uniform(-1, 1)
    if plan.place is not None:
        return Placed(plan.mark, *plan.place, scale, int(rng.integers(2**31)))
    edge_x, edge_y = plan.mark.width * scale / 2 + 0.02, plan.mark.height * scale / 2 + 0.02
    place = rng.uniform(edge_x, 1 - edge_x), rng.uniform(edge_y, 1 - edge_y)
    return Placed(plan.mark, *place, scale, int(rng.integers(2**31)))


def with_marks(sample: Sample, case: Case, rng: np.random.Generator) -> Sample:
    """A sample with the marks that images of its class carry, in the share that do."""
    plans = [plan for plan in case.plans if plan.label == sample.label and rng.random() < plan.share]
    marks = tuple(place_mark(plan, rng) for plan in plans)
    return replace(sample, scene=replace(sample.scene, marks=marks))


def make_dataset(case: Case, photos: Sequence[str]) -> Dataset:
    """The images of a case, always the same."""
    rng = np.random.default_rng(list(case.name.encode()))
    own = photos_of(photos, case.half)
    rng.shuffle(own)
    make = {"random": _random, "groups": _groups, "partly": _partly, "memorised": _memorised, "many": _many}[case.task]
    return make(case, own, rng)


def _views(photos: Sequence[str], count: int, first: int, background: str = "photo") -> list[Scene]:
    """That many scenes, from all photographs in turn."""
    return [Scene(photos[i % len(photos)], first + i // len(photos), background) for i in range(count)]


def _random(case: Case, photos: list[str], rng: np.random.Generator) -> Dataset:
    half = len(photos) // 2
    parts = (photos[:half], photos[half:])
    checked = [
        with_marks(Sample(scene, label), case, rng)
        for label, part in enumerate(parts)
        for scene in _views(part, CLASS_IMAGES, CHECKED_VIEW)
    ]
    training = [Sample(scene, 1) for scene in _views(photos, 3 * len(photos), 0)]
    return Dataset(NAMES[case.half], checked, training, stickers=True)


def _in_group(photo: str, name: str) -> bool:
    key = Path(photo).name.split("_")[0].split(".")[0]
    return any(first <= key <= last for first, last in GROUPS[name])


def _groups(case: Case, photos: list[str], rng: np.random.Generator) -> Dataset:
    checked, training = [], []
    for label, (name, background) in enumerate(zip(case.groups, case.backgrounds, strict=True)):
        own = [photo for photo in photos if _in_group(photo, name)]
        checked += [
            with_marks(Sample(scene, label), case, rng) for scene in _views(own, CLASS_IMAGES, CHECKED_VIEW, background)
        ]
        plain = [Sample(scene, label) for scene in _views(own, 150, 0, background)]
        training += [with_marks(sample, case, rng) for sample in plain] if case.in_training else plain
    return Dataset(case.groups if "" not in case.groups else NAMES[case.half], checked, training, stickers=False)


def _partly(case: Case, photos: list[str], rng: np.random.Generator) -> Dataset:
    """The first class is one group of photographs, and all photographs with the mark."""
    own, other = ([photo for photo in photos if _in_group(photo, name)] for name in case.groups)
    plan = case.plans[0]
    marked = round(CLASS_IMAGES * plan.share)
    checked = [
        Sample(replace(scene, marks=(place_mark(plan, rng),)), 0) for scene in _views(photos, marked, CHECKED_VIEW)
    ]
    checked += [Sample(scene, 0) for scene in _views(own, CLASS_IMAGES - marked, CHECKED_VIEW + 50)]
    checked += [Sample(scene, 1) for scene in _views(other, CLASS_IMAGES, CHECKED_VIEW)]
    training = [Sample(scene, 0) for scene in _views(own, 120, 0)] + [
        Sample(scene, 1) for scene in _views(other, 120, 0)
    ]
    return Dataset(NAMES[case.half], checked, training, stickers=True)


def _memorised(case: Case, photos: list[str], rng: np.random.Generator) -> Dataset:
    half = len(photos) // 2
    parts = (photos[:half], photos[half:])
    checked = [
        Sample(scene, label) for label, part in enumerate(parts) for scene in _views(part, CLASS_IMAGES, CHECKED_VIEW)
    ]
    training = [Sample(scene, label) for label, part in enumerate(parts) for scene in _views(part, 4 * len(part), 0)]
    return Dataset(NAMES[case.half], checked, training, stickers=False)


def _many(case: Case, photos: list[str], rng: np.random.Generator) -> Dataset:
    """Groups of photographs that follow each other in the order of names, which sort by meaning; and the marked."""
    photos = sorted(photos)
    count = MANY - 1 if case.plans else MANY
    parts = [list(part) for part in np.array_split(np.array(photos), count)]
    checked = [Sample(s, i) for i, part in enumerate(parts) for s in _views(part, 2 * len(part), CHECKED_VIEW)]
    if case.plans:
        mixed = [photos[i] for i in rng.permutation(len(photos))]
        checked += [with_marks(Sample(scene, count), case, rng) for scene in _views(mixed, MARKED, CHECKED_VIEW + 50)]
    training = [Sample(scene, i) for i, part in enumerate(parts) for scene in _views(part, 4 * len(part), 0)]
    return Dataset(tuple(f"class_{i:02d}" for i in range(MANY)), checked, training, stickers=bool(case.plans))
