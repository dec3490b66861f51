"""Search for a patch that is nearly the same in many images of a class and in few of other classes, wherever it lies.

On pictures of what the model saw, all of one working size: small windows of the hot parts of some images are compared
with every place of all images (root mean square difference of the pixels). The window that recurs most significantly
is grown to the whole patch, where the aligned images agree much better than unrelated images do; and with the whole
patch all images are searched again. Whether the model uses what was found is not asked here.
"""

from __future__ import annotations

import math

import numpy as np

from camcli.checks.shortcuts.matching import box_means, match
from camcli.checks.shortcuts.patch_extent import Window, tolerances, whole_patch
from camcli.checks.shortcuts.patterns import SIGNIFICANCE, Pattern, Search
from camcli.stats import log_ways

_SIZES = (7, 12, 20)
"""Sides of the windows, in pixels of the working size."""
_SEEDS, _WINDOWS = 8, 16
"""Images whose windows are compared with others, and windows an image and size."""
_FIRST, _KEPT = 10, 32
"""All windows are compared with so many images of either side first; so many windows go on."""
_TESTS = len(_SIZES) * len(tolerances(1.0))
"""Sizes and tolerances that are tried with each window of an image."""


def log_best_chance(own: int, others: int) -> float:
    """Logarithm of the chance, corrected for all windows, of one that all images of a class match and no others."""
    return math.log(_SEEDS * _WINDOWS * _TESTS) - log_ways(own + others, own)


def find_repeated_patch(search: Search) -> Pattern | None:
    """The patch that recurs most significantly in the hot parts of the images of a class; None where none does."""
    candidates = [window for size in _SIZES if (window := _best_window(search, size)) is not None]
    if not candidates:
        return None
    # Of windows that recur about as clearly the largest says most about the patch.
    clearest = min(one.chance for one in candidates)
    return whole_patch(search, max((one for one in candidates if one.chance <= clearest**0.5), key=lambda w: w.size))


def _best_window(search: Search, size: int) -> Window | None:
    own, heat = search.own, search.heat
    chosen = np.unique(np.linspace(0, len(own) - 1, _SEEDS).round().astype(int)).tolist()
    windows = [(i, x, y) for i in chosen for x, y in hot_windows(own[i], heat[i], size, _WINDOWS)]
    if not windows:
        return None
    seeds = np.array([i for i, _, _ in windows])
    templates = np.stack([own[i, y : y + size, x : x + size] for i, x, y in windows])
    kept = _most_promising(search, templates, seeds)
    seeds, templates = seeds[kept], templates[kept]
    inside, places = match(templates, search.own_spectra, heat)
    outside, _ = match(templates, search.others_spectra)
    contrast = templates.std((1, 2)).mean(-1)
    best: Window | None = None
    tried = len(windows) * _TESTS
    for k, seed in enumerate(seeds.tolist()):
        rest = np.arange(len(own)) != seed  # it matches itself
        for tolerance in tolerances(float(contrast[k])):
            same = inside[k] <= tolerance
            chance = search.significance(same[rest], outside[k] <= tolerance, tried)
            if chance < SIGNIFICANCE and (best is None or chance < best.chance):
                best = Window(size, chance, np.flatnonzero(same), places[k, same])
    return best


def hot_windows(image: np.ndarray, heat: np.ndarray, size: int, count: int) -> list[tuple[int, int]]:
    """Top left corners of windows in the hot part: half of them the hottest, half those with the most contrast."""
    step = max(2, size // 3)
    mean = box_means(heat, size)
    gray = image.mean(-1)
    spread = box_means(gray**2, size) - box_means(gray, size) ** 2
    hot = 0.4 * mean.max()
    grid = [(x, y) for y in range(0, mean.shape[0], step) for x in range(0, mean.shape[1], step) if mean[y, x] >= hot]
    hottest = sorted(grid, key=lambda place: -mean[place[1], place[0]])[: count // 2]
    rest = [place for place in grid if place not in hottest]
    return hottest + sorted(rest, key=lambda place: -spread[place[1], place[0]])[: count - len(hottest)]


def _most_promising(search: Search, templates: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Indices of the windows that a few images of the class match better than a few other images do."""
    few = np.unique(np.linspace(1, len(search.own) - 2, _FIRST).round().astype(int))
    inside, _ = match(templates, search.own_spectra[few], search.heat[few])
    inside[seeds[:, None] == few] = np.inf
    outside, _ = match(templates, search.others_spectra[:_FIRST])
    rank = max(0, round(search.share * len(few)) - 1)
    advantage = np.log1p(outside.min(1, initial=np.inf).clip(max=255)) - np.log1p(np.sort(inside, 1)[:, rank])
    return np.sort(np.argsort(-advantage, kind="stable")[:_KEPT])
