"""Numbers read off a native map, against values worked out by hand and naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from camcli.images import View
from camcli.map_summary import (
    border_share,
    entropy,
    map_statistics,
    map_status,
    native_copy,
    raw_statistics,
    read_native,
)

WHOLE = View(0, 0, 70, 70)


def test_status() -> None:
    assert map_status(np.array([[0.0, 1.0]], np.float32)) == "ok"
    assert map_status(np.array([[-2.0, 0.0]], np.float32)) == "zero"
    assert map_status(np.array([[3.0, 3.0]], np.float32)) == "constant"
    assert map_status(np.array([[1.0, 1.0 + 5e-7]], np.float32)) == "constant"
    assert map_status(np.array([[np.nan, 1.0]], np.float32)) == "nonfinite"
    assert map_status(np.array([[-np.inf, 1.0]], np.float32)) == "nonfinite"


def test_degenerate_maps_have_no_statistics_and_stay_json() -> None:
    for raw in (np.full((7, 7), np.nan, np.float32), np.zeros((7, 7), np.float32)):
        assert set(map_statistics(raw, WHOLE, (70, 70), (224, 224)).values()) == {None}
    nan = np.full((7, 7), np.nan, np.float32)
    assert raw_statistics(nan) == {"min": None, "max": None, "mean": None}
    assert native_copy(nan) is None


def test_entropy_of_uniform_one_hot_and_one_cell() -> None:
    assert entropy(np.full((7, 7), 1 / 49)) == pytest.approx(1)
    assert entropy(np.eye(1, 49).reshape(7, 7)) == 0
    assert entropy(np.ones((1, 1))) is None


def test_border_of_uniform_ring_and_centre() -> None:
    assert border_share(np.full((7, 7), 1 / 49)) == pytest.approx(1)
    ring = np.ones((7, 7))
    ring[1:-1, 1:-1] = 0
    # 4 corner cells keep 0.91 and 20 edge cells 0.7 of their mass in the band, which is 0.36 of the area.
    assert border_share(ring / ring.sum()) == pytest.approx((4 * 0.91 + 20 * 0.7) / 24 / 0.36)
    centre = np.zeros((7, 7))
    centre[3, 3] = 1
    assert border_share(centre) == 0


def naive_border(p: np.ndarray, fine: int = 100) -> float:
    """Area share of the band by counting points of a fine raster in each cell."""
    h, w = p.shape
    total = 0.0
    for i in range(h):
        for j in range(w):
            band = 0
            for a in range(fine):
                for b in range(fine):
                    y, x = (i + (a + 0.5) / fine) / h, (j + (b + 0.5) / fine) / w
                    band += not (0.1 < y < 0.9 and 0.1 < x < 0.9)
            total += p[i, j] * band / fine**2
    return total / 0.36


def test_border_against_counting() -> None:
    p = np.random.default_rng(0).random((3, 4))
    p /= p.sum()
    assert border_share(p) == pytest.approx(naive_border(p), abs=0.02)


def test_positions_are_in_upright_original_pixels() -> None:
    raw = np.zeros((7, 7), np.float32)
    raw[2, 5] = 4.0
    raw[2, 6] = 1.0
    view = View(100, 50, 800, 400)  # 700 wide, 350 high: cells of 100 × 50
    found = map_statistics(raw, view, (1000, 500), (224, 224))
    assert found["peak"] == [650, 175]
    assert found["centroid"] == [pytest.approx((4 * 650 + 750) / 5, abs=0.01), 175]
    p = [0.8, 0.2]
    assert found["entropy"] == pytest.approx(-sum(q * math.log(q) for q in p) / math.log(49))
    x0, y0, x1, y1 = found["box"]
    # Half the maximum is reached half-way to a neighbour of 0.
    assert 595 <= x0 <= 605
    assert 711 <= x1 <= 722  # 2 is reached two thirds of the way from 4 to 1
    assert 148 <= y0 <= 152
    assert 198 <= y1 <= 202


def test_the_box_is_of_the_largest_component() -> None:
    raw = np.zeros((14, 14), np.float32)
    raw[1, 1] = 1.0
    raw[8:12, 8:12] = 0.9
    x0, y0, x1, y1 = map_statistics(raw, View(0, 0, 140, 140), (140, 140), (140, 140))["box"]
    assert (x0, y0) == (pytest.approx(80, abs=2), pytest.approx(80, abs=2))
    assert (x1, y1) == (pytest.approx(120, abs=2), pytest.approx(120, abs=2))


@pytest.mark.parametrize("seed", range(20))
def test_the_box_is_that_of_labelling_every_pixel(seed: int) -> None:
    """On blobs of many shapes: one alone, several, rings, and a large one inside a thin ring."""
    rng = np.random.default_rng(seed)
    raw = ndimage.gaussian_filter(rng.random((40, 60)), rng.uniform(0.5, 9)).astype(np.float32)
    if seed % 4 == 0:
        raw[:] = 0
        raw[2:37, 5:55] = 1
        raw[3:36, 6:54] = 0
        raw[10:30, 20:45] = 1
    labels, _ = ndimage.label(raw >= 0.5 * raw.max(), structure=np.ones((3, 3)))
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    rows, columns = ndimage.find_objects(labels)[largest - 1]
    found = map_statistics(raw, View(0, 0, 60, 40), (60, 40), (40, 60))["box"]
    assert found == [columns.start, rows.start, columns.stop, rows.stop]


def test_positions_are_clipped_to_the_image() -> None:
    raw = np.zeros((2, 2), np.float32)
    raw[0, 0] = 1.0
    found = map_statistics(raw, View(-100, -100, 200, 200), (100, 100), (64, 64))
    assert found["peak"] == [0, 0]


@settings(max_examples=50)
@given(arrays(np.float32, (5, 9), elements=st.floats(-1e6, 1e6, width=32)))
def test_native_copy_round_trips(raw: np.ndarray) -> None:
    copy = native_copy(raw)
    assert copy is not None
    assert copy["grid"] == [5, 9]
    assert "reduced" not in copy
    scale = float(np.abs(raw).max()) or 1.0
    assert np.abs(read_native(copy) - raw).max() <= 1e-3 * scale


def test_large_grids_are_area_averaged() -> None:
    raw = np.kron(np.arange(16, dtype=np.float32).reshape(4, 4), np.ones((64, 64), np.float32))
    copy = native_copy(raw)
    assert copy is not None
    assert copy["reduced"] is True
    assert copy["grid"] == [32, 32]
    expected = raw.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    assert np.allclose(read_native(copy), expected, atol=0.02)
