"""Many classes at once: which of them, alone or together, are worth a full search, from a few images of each.

The hot windows of an image or two of each class are compared with a few other images of the class, and with a few of
other classes. The most promising windows of all classes are then looked for in all these images: classes of which many
images show one are searched together, since each may have too few images, or another class the same patch. Time and
memory grow linearly with the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from camcli.checks.shortcuts.fixed_patterns import details
from camcli.checks.shortcuts.matching import Spectra, match
from camcli.checks.shortcuts.patch_extent import tolerances
from camcli.checks.shortcuts.patterns import SIGNIFICANCE, chance_of, stack_copies
from camcli.checks.shortcuts.repeated_patches import hot_windows
from camcli.stats import log_ways

_SIZES, _WINDOWS = (9, 16), 16
"""Sides of the windows, in pixels of the working size, and how many of each size an image has."""
_SEEDS = 48
"""Images whose windows are compared, at least one of each class."""
_SIBLINGS = 3
"""Images of the same class, and of others, that a window is compared with first."""
_DRAWN = 24
"""Images that are drawn to have some of other classes among them."""
_KEPT = 48
"""Windows of all classes that are looked for in all images."""
_CHUNK = 64
"""Images that are transformed at a time, which bounds the memory."""


@dataclass(frozen=True)
class Pool:
    """A few images of each class.

    Attributes:
        pixels: (H, W, 3) uint8 of each image.
        heat: (H, W) float32 of each image.
        labels: (N,) the position of each image's class among all.
    """

    pixels: Sequence[np.ndarray]
    heat: Sequence[np.ndarray]
    labels: np.ndarray

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Promising:
    """What the pool suggests.

    Attributes:
        order: positions of the classes, the most promising first.
        groups: positions of classes that seem to share something.
    """

    order: list[int]
    groups: list[tuple[int, ...]]


def compare_classes(pool: Pool, share: float, ratio: float, seed: int, most_groups: int = 3) -> Promising:
    """Which classes to search first, and which together.

    Args:
        pool: a few images of each class, at least two of each.
        share: least share of the images of a class that show what it shares with others.
        ratio: how many times more often than in the rest.
        seed: of the choice of images that windows are compared with.
        most_groups: to propose.
    """
    rng = np.random.default_rng(seed)
    seeds_a_class = max(1, min(4, _SEEDS // pool.classes))
    advantages = np.full(pool.classes, -np.inf)
    windows: list[tuple[float, int, int, np.ndarray]] = []
    for position, own in enumerate(_by_class(pool)):
        # Of images at random the first that are of other classes: a list of those of each class would be quadratic.
        drawn = rng.integers(len(pool.labels), size=_DRAWN)
        rest = drawn[pool.labels[drawn] != position][:_SIBLINGS]
        for index in own[:seeds_a_class].tolist():
            siblings = own[own != index][:_SIBLINGS]
            for size, templates, advantage in _compare_windows(pool, index, siblings, rest):
                advantages[position] = max(advantages[position], advantage.max())
                best = np.argsort(-advantage, kind="stable")[:4].tolist()
                windows += [(float(advantage[k]), index, size, templates[k]) for k in best]
        windows = sorted(windows, key=lambda one: -one[0])[: 4 * _KEPT]
    by_patch = np.argsort(-advantages, kind="stable").tolist()
    by_place = np.argsort(-_agreements(pool), kind="stable").tolist()
    order = list(dict.fromkeys(position for pair in zip(by_patch, by_place, strict=True) for position in pair))
    return Promising(order, _groups(pool, windows[:_KEPT], share, ratio)[:most_groups])


def _by_class(pool: Pool) -> list[np.ndarray]:
    """The indices of the images of each class."""
    order = np.argsort(pool.labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(pool.labels[order])) + 1)


def _compare_windows(
    pool: Pool, index: int, siblings: np.ndarray, rest: np.ndarray
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each size: the hot windows of an image, and how much better they fit images of its class than others."""
    if not len(siblings) or not len(rest):
        return []
    image, *compared = stack_copies([pool.pixels[i] for i in (index, *siblings.tolist(), *rest.tolist())])
    spectra = Spectra.of(np.stack(compared))
    heat = np.stack([pool.heat[i] for i in siblings.tolist()])
    result = []
    for size in _SIZES:
        places = _spread(hot_windows(image, pool.heat[index], size, 8 * _WINDOWS), size)
        templates = np.stack([image[y : y + size, x : x + size] for x, y in places])
        same, _ = match(templates, spectra[: len(siblings)], heat)
        other, _ = match(templates, spectra[len(siblings) :])
        result.append((size, templates, np.log1p(other.min(1)) - np.log1p(np.median(same, 1).clip(max=255))))
    return result


def _spread(places: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """A few of the windows, none beside another: the heat on a mark is a plateau, on which all are equally hot."""
    chosen: list[tuple[int, int]] = []
    for x, y in places:
        if all(max(abs(x - a), abs(y - b)) >= size // 2 for a, b in chosen):
            chosen.append((x, y))
    return chosen[:_WINDOWS]


def _agreements(pool: Pool) -> np.ndarray:
    """(classes,) the largest agreement of fine details at one place, over the images of each class."""
    strengths = np.zeros(pool.classes)
    for position, own in enumerate(_by_class(pool)):
        fine = details(stack_copies([pool.pixels[i] for i in own.tolist()]))
        n = len(fine)
        if n > 1:
            # The mean product of two different images: of sums, the square less the squares.
            product = (fine.sum(0) ** 2 - (fine**2).sum(0)).mean(-1) / (n * (n - 1))
            strengths[position] = float(cv2.boxFilter(product.astype(np.float32), -1, (9, 9)).max())
    return strengths


def _groups(
    pool: Pool, windows: list[tuple[float, int, int, np.ndarray]], share: float, ratio: float
) -> list[tuple[int, ...]]:
    """Classes that share a window, the most significant first: proposals, since only the search that follows corrects
    for everything that was tried."""
    counts = np.bincount(pool.labels, minlength=pool.classes)
    chances: dict[tuple[int, ...], float] = {}
    for size in _SIZES:
        same_size = [(index, template) for _, index, side, template in windows if side == size]
        if not same_size:
            continue
        templates = np.stack([template for _, template in same_size])
        distances = _match_all(pool, templates)
        contrast = templates.std((1, 2)).mean(-1)
        for k, (index, _) in enumerate(same_size):
            compared = np.arange(len(pool.labels)) != index  # it matches itself
            for tolerance in tolerances(float(contrast[k])):
                shown = (distances[k] <= tolerance) & compared
                hits = np.bincount(pool.labels[shown], minlength=pool.classes)
                group = np.flatnonzero((hits >= share * counts) & (hits >= min(2, counts.min())))
                chance = _chance(hits, counts, group, ratio)
                if chance < SIGNIFICANCE:
                    key = tuple(group.tolist())
                    chances[key] = min(chance, chances.get(key, 1.0))
    return sorted(chances, key=lambda group: chances[group])


def _chance(hits: np.ndarray, counts: np.ndarray, group: np.ndarray, ratio: float) -> float:
    """Probability that so many matches lie in so few classes, whichever these are; 1 for one class, or all."""
    if not 1 < len(group) < len(counts):
        return 1.0
    inside, own = int(hits[group].sum()), int(counts[group].sum())
    misses, others = int(hits.sum()) - inside, int(counts.sum()) - own
    return chance_of(inside, own, misses, others, ratio, log_ways(len(counts), len(group)))


def _match_all(pool: Pool, templates: np.ndarray) -> np.ndarray:
    """The least differences (windows, images) of windows to all images."""
    parts = []
    for start in range(0, len(pool.pixels), _CHUNK):
        spectra = Spectra.of(stack_copies(pool.pixels[start : start + _CHUNK]))
        parts.append(match(templates, spectra)[0])
    return np.concatenate(parts, 1)
