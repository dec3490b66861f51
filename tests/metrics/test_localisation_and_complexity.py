"""Where maps point and what form they have, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from camcli.map_summary import entropy as index_entropy
from camcli.metrics.energy import energy
from camcli.metrics.entropy import entropy
from camcli.metrics.gridpg import choose_mosaics, grid_pointing, mosaic
from camcli.metrics.maxboxacc import OVERLAPS, THRESHOLDS, box_hits, max_box_accuracy
from camcli.metrics.pointing import pointing
from camcli.metrics.sparsity import sparsity

from .standin import heats, inputs


def region(*box: int, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    found = torch.zeros(1, *size, dtype=torch.bool)
    x0, y0, x1, y1 = box
    found[:, y0:y1, x0:x1] = True
    return found


def spike(row: int, column: int, size: int = 224) -> torch.Tensor:
    heat = torch.zeros(1, size, size)
    heat[0, row, column] = 1
    return heat


@pytest.mark.parametrize(("column", "hit"), [(100, 1.0), (115, 1.0), (116, 0.0), (0, 0.0)])
def test_pointing_counts_up_to_15_pixels_off_the_object(column: int, hit: float) -> None:
    # The object's last column is 100.
    assert float(pointing(spike(50, column), region(60, 40, 101, 80, size=(224, 224)))) == hit


def test_the_tolerance_scales_with_the_input() -> None:
    near = region(0, 0, 10, 448, size=(448, 448))
    assert float(pointing(spike(9, 39, 448), near)) == 1.0
    assert float(pointing(spike(9, 40, 448), near)) == 0.0


def test_a_shared_maximum_counts_by_the_share_that_hits() -> None:
    heat = torch.maximum(spike(50, 70), spike(200, 200))
    assert float(pointing(heat, region(60, 40, 101, 80, size=(224, 224)))) == 0.5
    assert math.isnan(float(pointing(torch.ones(1, 64, 64), region(0, 0, 9, 9))))
    assert math.isnan(float(pointing(heats(1, 64, 64), region(0, 0, 0, 0))))


def test_energy_is_the_share_inside() -> None:
    heat, object_ = heats(1, 64, 64), region(10, 20, 30, 50)
    inside = sum(float(heat[0, r, c]) for r in range(20, 50) for c in range(10, 30))
    assert float(energy(heat, object_)) == pytest.approx(inside / float(heat.double().sum()), rel=1e-5)
    assert math.isnan(float(energy(torch.zeros(1, 64, 64), object_)))
    assert math.isnan(float(energy(heat, region(0, 0, 0, 0))))


def naive_hits(heat: np.ndarray, truth: tuple[int, int, int, int]) -> np.ndarray:
    """Flood fill and boxes by hand."""
    hits = np.zeros((len(THRESHOLDS), len(OVERLAPS)))
    for t, threshold in enumerate(THRESHOLDS):
        left = {(int(r), int(c)) for r, c in zip(*np.nonzero(heat >= threshold), strict=True)}
        best = 0.0
        while left:
            part, front = set(), [left.pop()]
            while front:
                r, c = front.pop()
                part.add((r, c))
                for place in [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                    if place in left:
                        left.remove(place)
                        front.append(place)
            rows, columns = [r for r, _ in part], [c for _, c in part]
            x0, y0, x1, y1 = min(columns), min(rows), max(columns) + 1, max(rows) + 1
            shared = max(0, min(x1, truth[2]) - max(x0, truth[0])) * max(0, min(y1, truth[3]) - max(y0, truth[1]))
            areas = (x1 - x0) * (y1 - y0) + (truth[2] - truth[0]) * (truth[3] - truth[1])
            best = max(best, shared / (areas - shared))
        hits[t] = [best >= overlap for overlap in OVERLAPS]
    return hits


def test_box_hits_are_those_of_a_flood_fill() -> None:
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    blob = torch.exp(-((rows - 12.0) ** 2 / 60 + (columns - 18.0) ** 2 / 30))
    for heat in (blob, heats(1, 32, 32)[0], (blob + heats(1, 32, 32)[0]) / 2):
        found = box_hits(heat[None], region(10, 6, 24, 20, size=(32, 32)))
        assert (found[0].numpy().reshape(len(THRESHOLDS), -1) == naive_hits(heat.numpy(), (10, 6, 24, 20))).all()


def test_max_box_accuracy_takes_one_threshold_for_the_whole_set() -> None:
    """Two images that each fit at their own threshold only: no threshold fits both."""
    a, b = np.zeros((len(THRESHOLDS), 3)), np.zeros((len(THRESHOLDS), 3))
    a[10], b[40] = 1, 1
    means = np.stack([a.ravel(), b.ravel()]).mean(0)
    assert float(max_box_accuracy(means)) == 0.5
    assert float(max_box_accuracy(a.ravel())) == 1.0


def test_a_box_around_a_perfect_map_is_the_objects() -> None:
    object_ = region(10, 20, 30, 50)
    assert float(max_box_accuracy(box_hits(object_.float(), object_)[0].numpy())) == 1.0
    assert torch.isnan(box_hits(object_.float(), region(0, 0, 0, 0))).all()


def test_sparsity_is_the_gini_index_of_all_pairs() -> None:
    native = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    for raw, found in zip(native, sparsity(native), strict=True):
        cells = np.maximum(raw.double().numpy().ravel(), 0)
        pairs = sum(abs(a - b) for a in cells for b in cells)
        assert float(found) == pytest.approx(pairs / (2 * len(cells) ** 2 * cells.mean()), abs=1e-6)


def test_sparsity_and_entropy_at_their_ends() -> None:
    flat, hot = torch.ones(1, 4, 5), torch.zeros(1, 4, 5)
    hot[0, 1, 1] = 3
    assert float(sparsity(flat)) == pytest.approx(0, abs=1e-6)
    assert float(sparsity(hot)) == pytest.approx(1 - 1 / 20)
    assert float(entropy(flat)) == pytest.approx(1)
    assert float(entropy(hot)) == 0
    for metric in (sparsity, entropy):
        assert math.isnan(float(metric(torch.zeros(1, 4, 5))))
        assert math.isnan(float(metric(torch.full((1, 4, 5), math.nan))))
        assert math.isnan(float(metric(torch.full((1, 4, 5), -1.0))))
    assert math.isnan(float(entropy(torch.ones(1, 1, 1))))


def test_entropy_is_that_of_the_index() -> None:
    native = torch.randn(3, 7, 7, generator=torch.Generator().manual_seed(1))
    for raw, found in zip(native, entropy(native), strict=True):
        heat = np.maximum(raw.double().numpy(), 0)
        assert float(found) == pytest.approx(index_entropy(heat / heat.sum()), abs=1e-6)


def test_grid_pointing_counts_the_mass_in_each_cell() -> None:
    maps = torch.randn(4, 14, 12, generator=torch.Generator().manual_seed(0))
    for k in range(4):
        rows, columns = ((slice(0, 7), slice(7, 14))[k // 2], (slice(0, 6), slice(6, 12))[k % 2])
        mass = np.maximum(maps[k].double().numpy(), 0)
        assert float(grid_pointing(maps, 2)[k]) == pytest.approx(mass[rows, columns].sum() / mass.sum(), abs=1e-6)


def test_cut_cells_count_by_their_share_and_uniform_is_one_over_all() -> None:
    assert grid_pointing(torch.ones(9, 7, 7), 3).tolist() == pytest.approx([1 / 9] * 9)
    middle = torch.zeros(4, 7, 7)
    middle[:, 3, 0] = 1  # the middle row of seven, cut in halves
    assert grid_pointing(middle, 2).tolist() == pytest.approx([0.5, 0, 0.5, 0])
    assert torch.isnan(grid_pointing(-torch.ones(4, 7, 7), 2)).all()


def test_a_mosaic_lays_its_cells_row_by_row() -> None:
    cells = inputs(4, 6, 8)
    whole = mosaic(cells, 2)
    assert whole.shape == (1, 3, 12, 16)
    assert torch.equal(whole[0, :, :6, 8:], cells[1])
    assert torch.equal(whole[0, :, 6:, :8], cells[2])
    flat = torch.arange(4.0)[:, None, None, None].expand(4, 3, 6, 8)
    shrunk = mosaic(flat, 2, (7, 9))
    assert shrunk.shape == (1, 3, 7, 9)
    assert float(shrunk[0, 0, 0, 0]) == 0
    assert float(shrunk[0, 0, -1, -1]) == 3


def test_mosaics_have_distinct_classes_and_use_an_image_once() -> None:
    classes = [0, 0, 0, 1, 2, 3, 3, 1, 2, 0, 4]
    groups = choose_mosaics(classes, 2, 10, seed=0)
    assert len(groups) == 2
    used = [i for group in groups for i in group]
    assert len(set(used)) == len(used)
    assert all(len({classes[i] for i in group}) == 4 for group in groups)
    assert choose_mosaics([0, 1, 1, 2], 2, 10, seed=0) == []
    assert choose_mosaics(classes, 2, 1, seed=0) == choose_mosaics(classes, 2, 1, seed=0)
