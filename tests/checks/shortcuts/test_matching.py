"""Windows are compared with every place as a naive loop compares them; and what can be significant at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from camcli.checks.shortcuts.candidates import can_be_searched
from camcli.checks.shortcuts.matching import Spectra, match
from camcli.checks.shortcuts.repeated_patches import hot_windows


@pytest.mark.parametrize("weighted", [False, True])
def test_differences_are_those_of_a_loop(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 17, 14, 3)).astype(np.float32)
    windows = np.stack([images[1, 4:9, 6:10], rng.uniform(0, 255, (5, 4, 3)).astype(np.float32)])
    weights = rng.uniform(0.1, 1, (5, 4)) if weighted else np.ones((5, 4))
    differences, places = match(windows, Spectra.of(images), weights=weights if weighted else None)
    for k, window in enumerate(windows.astype(np.float64)):
        for n, image in enumerate(images.astype(np.float64)):
            squares = {
                (x, y): (weights[..., None] * (image[y : y + 5, x : x + 4] - window) ** 2).sum() / (3 * weights.sum())
                for y in range(17 - 5 + 1)
                for x in range(14 - 4 + 1)
            }
            best = min(squares, key=lambda place: squares[place])
            assert tuple(places[k, n]) == best
            assert differences[k, n] == pytest.approx(math.sqrt(squares[best]), abs=0.05)
    assert differences[0, 1] < 0.05


def test_cold_places_do_not_count() -> None:
    image = np.zeros((1, 20, 20, 3), np.float32)
    image[0, 2:6, 2:6] = 200
    heat = np.zeros((1, 20, 20), np.float32)
    heat[0, 10:, 10:] = 1
    window = image[:, 2:6, 2:6]
    assert match(window, Spectra.of(image))[0][0, 0] < 0.05
    difference, places = match(window, Spectra.of(image), heat)
    assert difference[0, 0] == pytest.approx(200, abs=0.1)
    assert (places[0, 0] >= 6).all()


def test_what_can_be_significant() -> None:
    """All of n - 1 images and none of m: 1 / C(n - 1 + m, n - 1), times 128 windows, 3 sizes and 7 tolerances."""
    assert can_be_searched(40, 40, 2)
    assert not can_be_searched(40, 3, 2)
    assert not can_be_searched(10, 10, 2)
    assert not can_be_searched(1, 40, 1)
    assert can_be_searched(10, 12, 2) == (128 * 21 * 2 / math.comb(21, 9) < 0.01)


def test_windows_lie_inside_of_a_small_view() -> None:
    heat = np.ones((48, 144), np.float32)
    image = np.zeros((48, 144, 3), np.float32)
    for size in (7, 12, 20):
        for x, y in hot_windows(image, heat, size, 16):
            assert 0 <= x <= 144 - size
            assert 0 <= y <= 48 - size
