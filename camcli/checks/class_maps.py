"""What the maps of each class have in common: the mean map, and what the model does without their hottest part.

The mean map is the first thing that makes a shortcut visible: of a class that is recognised by a mark at one place it
shows that place. Covering removes the hottest ``SHARE`` of each image's own map, fills it from its surroundings (the
imputation of ROAD), and does the same with as many pixels at random; the falls of the class's probability stand side by
side. Both are reported with the contact sheet, and no check fails by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from camcli.checks.distances import mass
from camcli.checks.recorded import ImageRecord, MethodLayer, RecordedRun
from camcli.checks.reopened import ReopenedModel, UnavailableError

SHARE = 0.15
"""Share of the pixels that is covered."""
CLASSES = 8
"""The largest classes are shown."""
IMAGES = 8
"""Images a class that are shown and covered."""


@dataclass(frozen=True)
class Covering:
    """What covering a share of the pixels does to the class's probability, means over images.

    Attributes:
        n: images.
        probability: of the class before.
        hottest: fall of the probability without the hottest pixels of each image's own map.
        random: fall without as many pixels at random.
    """

    n: int
    probability: float
    hottest: float
    random: float

    @property
    def words(self) -> str:
        """For people."""
        hottest, random = (round(fall, 2) + 0.0 for fall in (self.hottest, self.random))  # no "-0.00"
        return (
            f"without the hottest {100 * SHARE:.0f} % of the map the probability {self.probability:.2f} falls by "
            f"{hottest:.2f}, without a random {100 * SHARE:.0f} % by {random:.2f}"
        )


@dataclass(frozen=True)
class ClassMaps:
    """The maps that explain one class.

    Attributes:
        target, name: the class.
        n: its images with a meaningful map.
        mean: (h, w), the mean of the maps, each with a mass of 1.
        sample: some of the images, spread evenly over all.
        covering: None where that could not be measured.
        problem: why it could not.
    """

    target: int
    name: str
    n: int
    mean: np.ndarray
    sample: tuple[ImageRecord, ...]
    covering: Covering | None = None
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """One class of ``cam check --sheet FILE --format json``."""
        covering = self.covering
        return {
            "class": self.name,
            "n": self.n,
            "mean_map": [[round(float(value), 6) for value in row] for row in self.mean],
            "covering": None
            if covering is None
            else {
                "share": SHARE, "n": covering.n, "probability": covering.probability,
                "hottest": covering.hottest, "random": covering.random,
            },
        }  # fmt: skip


def maps_by_class(run: RecordedRun, key: MethodLayer) -> list[ClassMaps]:
    """The classes with the most maps, the largest first."""
    groups: dict[int, list[tuple[ImageRecord, np.ndarray]]] = {}
    for record in run.images:
        heat = record.meaningful_map(key)
        if heat is not None and heat.target is not None:
            groups.setdefault(heat.target, []).append((record, heat.raw))
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))[:CLASSES]
    return [_class_maps(target, pairs, key) for target, pairs in largest]


def _class_maps(target: int, pairs: list[tuple[ImageRecord, np.ndarray]], key: MethodLayer) -> ClassMaps:
    name = pairs[0][0].maps[key].target_name or f"class {target}"
    alike = [mass(raw) for _, raw in pairs if raw.shape == pairs[0][1].shape]
    places = np.unique(np.linspace(0, len(pairs) - 1, min(IMAGES, len(pairs))).round().astype(int))
    return ClassMaps(target, name, len(pairs), np.mean(alike, axis=0), tuple(pairs[i][0] for i in places.tolist()))


def cover_classes(
    run: RecordedRun, key: MethodLayer, classes: Sequence[ClassMaps], device: str | None
) -> list[ClassMaps]:
    """The classes with what covering does to them."""
    if run.returns_values:
        return [replace(one, problem="the model's outputs are values, not probabilities") for one in classes]
    with ReopenedModel(run, key, device) as reopened:
        try:
            return [replace(one, covering=_cover(reopened, one)) for one in classes]
        except UnavailableError as error:
            return [replace(one, problem=str(error)) for one in classes]


def _cover(reopened: ReopenedModel, one: ClassMaps) -> Covering:
    import torch

    from camcli.metrics.baselines import baseline
    from camcli.metrics.impute import impute
    from camcli.metrics.order import pixel_ranks

    pictures = reopened.pictures(one.sample)
    seeds = reopened.seeds([picture.record for picture in pictures])
    rows = []
    for picture, seed in zip(pictures, seeds, strict=True):
        inputs = reopened.inputs([picture.pixels])
        classes = torch.tensor([one.target], device=inputs.device)
        size = (inputs.shape[2], inputs.shape[3])
        raw = picture.record.maps[reopened.key].raw
        maps = torch.from_numpy(raw).to(inputs.device)[None], baseline("random", inputs, raw.shape, [seed])
        scores = [float(reopened.score(inputs, classes))]
        for values in maps:
            heat = torch.nn.functional.interpolate(values[:, None].float(), size=size, mode="bilinear")[:, 0]
            covered = pixel_ranks(heat, [seed]) < round(SHARE * size[0] * size[1])
            scores.append(float(reopened.score(impute(inputs, covered, [seed]), classes)))
        rows.append(scores)
    before, hottest, random = np.array(rows).mean(axis=0).tolist()
    return Covering(len(rows), before, before - hottest, before - random)
