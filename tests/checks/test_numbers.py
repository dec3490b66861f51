"""Distances, intervals and regions against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from camcli.checks.distances import centroid, centroid_shift, divergence, mass, spearman, top_overlap
from camcli.checks.judge import Judge
from camcli.images import View
from camcli.images.regions import cells_of_box, cells_of_mask
from camcli.stats import Bootstrap


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 7, 9))
    return np.maximum(a, 0).round(1), np.maximum(a + b, 0).round(1)  # with many ties


@pytest.mark.parametrize("seed", range(5))
def test_distances_agree_with_scipy(seed: int) -> None:
    a, b = maps(seed)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)
    p, q = mass(a), mass(b)
    assert divergence(p, q) == pytest.approx(jensenshannon(p.ravel(), q.ravel(), base=2) ** 2, abs=1e-12)
    y, x = np.mgrid[0.5:7, 0.5:9]
    assert centroid(p) == pytest.approx(((p * x).sum() / 9, (p * y).sum() / 7))


def test_distances_of_equal_and_disjoint_maps() -> None:
    a, b = np.zeros((5, 5)), np.zeros((5, 5))
    a[0, 0], b[4, 4] = 1, 1
    assert (spearman(a, a), top_overlap(a, a), divergence(a, a), centroid_shift(a, a)) == (1, 1, 0, 0)
    assert divergence(a, b) == 1
    assert centroid_shift(a, b) == pytest.approx(0.8)  # four of five cells along the diagonal
    assert centroid_shift(a, b, 3, 1) == pytest.approx(0.8)
    assert spearman(a, np.ones((5, 5))) is None
    rows = np.arange(25.0).reshape(5, 5)
    assert top_overlap(rows, -rows) == 0


@pytest.mark.parametrize("q", [0.05, 0.5, 0.95, 0.0, 1.0])
@pytest.mark.parametrize("n", [5, 40])
def test_quantile_intervals_agree_with_resampling(q: float, n: int) -> None:
    values = np.random.default_rng(n).gamma(2, size=n)
    rng = np.random.default_rng(1)
    naive = np.quantile(np.quantile(values[rng.integers(n, size=(40_000, n))], q, axis=1), [0.025, 0.975])
    ours = Bootstrap(resamples=40_000).quantile(values, q)
    assert ours == pytest.approx(tuple(naive), abs=0.05 * np.ptp(values))


def test_other_intervals_agree_with_resampling_and_are_seeded() -> None:
    values = np.random.default_rng(0).normal(size=50)
    boot = Bootstrap(resamples=20_000)
    spread = 1.96 * values.std() / np.sqrt(50)
    assert boot.mean(values) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.02)
    assert boot.share(20, 50) == pytest.approx((0.26, 0.54), abs=0.021)
    assert boot.quantile(values, 0.5) == boot.quantile(values, 0.5)
    assert boot.quantile(values, 0.5) != Bootstrap(resamples=20_000, seed=1).quantile(values, 0.5)
    narrow, wide = Bootstrap(0.8).quantile(values, 0.5), Bootstrap(0.99).quantile(values, 0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_interval_decides() -> None:
    values = np.linspace(0.8, 1.2, 60)

    def status(limit: float | None, side: str = "max", n: int = 60) -> list[str]:
        return [one.status for one in Judge({f"median_{side}": limit}, 30, Bootstrap())({"": values[:n]})]

    assert status(1.5) == ["pass"]
    assert status(0.7) == ["fail"]
    assert status(1.01) == ["inconclusive"]
    assert status(0.7, "min") == ["pass"]
    assert status(1.5, "min") == ["fail"]
    assert status(1.5, n=29) == ["inconclusive"]
    assert status(None) == []


@settings(max_examples=60)
@given(
    st.tuples(st.integers(0, 30), st.integers(0, 30)), st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(-10, 20), st.integers(-10, 20)), st.integers(4, 40), st.sampled_from([(4, 4), (3, 7)]),
)  # fmt: skip
def test_cells_agree_with_counting_pixels(
    corner: tuple[int, int], extent: tuple[int, int], origin: tuple[int, int], side: int, grid: tuple[int, int]
) -> None:
    box = (corner[0], corner[1], min(40, corner[0] + extent[0]), min(40, corner[1] + extent[1]))
    view = View(origin[0], origin[1], origin[0] + side, origin[1] + side)
    mask = np.zeros((40, 40), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    fine = 3 * 7 * 4  # every cell and every pixel is a whole number of samples
    at = (np.arange(side * fine) + 0.5) / fine

    def counted(start: int, low: int, high: int, n: int) -> np.ndarray:
        places = start + at
        inside = (places >= low) & (places < high)
        return inside.reshape(n, -1).mean(1)

    expected = np.outer(counted(origin[1], box[1], box[3], grid[0]), counted(origin[0], box[0], box[2], grid[1]))
    np.testing.assert_allclose(cells_of_box(tuple(map(float, box)), view, grid), expected, atol=1e-9)
    np.testing.assert_allclose(cells_of_mask(mask, (40, 40), view, grid), expected, atol=1e-9)
