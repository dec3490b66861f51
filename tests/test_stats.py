"""Intervals: coverage, pairing, what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from camcli.metrics.maxboxacc import max_box_accuracy
from camcli.stats import difference, estimate, log_hypergeometric_tail


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_the_figure_is_the_mean_of_what_is_known() -> None:
    found = estimate(column(1, 2, np.nan, 6))
    assert found.value == 3
    assert found.n == 3
    assert found.interval is not None
    assert 1 <= found.interval[0] <= 3 <= found.interval[1] <= 6


def test_one_image_has_no_interval_and_none_no_value() -> None:
    assert estimate(column(2.0)).interval is None
    assert estimate(column(np.nan)).value is None
    assert difference(column(1, np.nan), column(np.nan, 1)).value is None


def test_the_interval_is_that_of_the_mean_and_seeded() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    found = estimate(values, seed=1)
    assert found.interval is not None
    half = 1.96 * values.std() / 20
    assert found.interval[0] == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.interval[1] == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert estimate(values, seed=1) == found
    assert estimate(values, seed=2) != found


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        low, high = estimate(rng.exponential(1.0, (60, 1)), seed=seed, draws=400).interval or (0.0, 0.0)
        hits += low <= 1.0 <= high
    assert 178 <= hits <= 198  # 95 % of 200 is 190; the percentile bootstrap of skewed data is a little short


def test_pairing_sees_a_small_difference_between_noisy_rows() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (50, 1))
    b = a - 0.1 + rng.normal(0, 0.02, (50, 1))
    apart = difference(a, b)
    assert apart.interval is not None
    assert 0.08 < apart.interval[0] <= (apart.value or 0) <= apart.interval[1] < 0.12
    overlapping = estimate(a).interval, estimate(b).interval
    assert overlapping[0] is not None
    assert overlapping[1] is not None
    assert overlapping[0][0] < overlapping[1][1]


def test_images_with_one_of_the_two_values_do_not_count() -> None:
    apart = difference(column(1, 5, np.nan), column(0, np.nan, 9))
    assert (apart.value, apart.n) == (1, 1)


def test_a_figure_of_means_is_computed_in_every_resample() -> None:
    hits = np.zeros((40, 150))
    hits[:20, 0:3] = 1
    hits[20:, 3:6] = 1
    found = estimate(hits, max_box_accuracy)
    assert found.value == 0.5
    assert found.interval is not None
    # The best of two thresholds never falls below one half: the interval begins at the figure.
    assert found.interval[0] >= 0.5


def test_hypergeometric_tail_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, drawn, marked, total in ((3, 10, 5, 100), (0, 5, 5, 20), (5, 5, 5, 20), (9, 12, 30, 40)):
        expected = stats.hypergeom.logsf(hits - 1, total, marked, drawn)
        assert log_hypergeometric_tail(hits, drawn, marked, total) == pytest.approx(expected, rel=1e-9, abs=1e-9)
