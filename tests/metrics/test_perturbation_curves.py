"""Deletion, insertion and the order of pixels, against loops over one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from camcli.metrics.blur import blur, blur_width
from camcli.metrics.deletion import deletion
from camcli.metrics.insertion import insertion
from camcli.metrics.order import pixel_ranks

from .standin import LinearScorer, classes, heats, inputs

SEEDS = [3, 4, 5]


def naive_area(before: np.ndarray, after: np.ndarray, heat: np.ndarray, chosen: int, steps: int) -> float:
    """One image, one pixel set at a time; for maps without equal values."""
    scorer = LinearScorer(*heat.shape)
    order = sorted(np.ndindex(*heat.shape), key=lambda place: -heat[place])
    scores = []
    for k in range(steps + 1):
        x = before.copy()
        for row, column in order[: round(heat.size * k / steps)]:
            x[:, row, column] = after[:, row, column]
        scores.append(scorer.one(x, chosen))
    return float(np.trapezoid(scores, dx=1 / steps))


@pytest.mark.parametrize("steps", [2, 7, 16])
def test_deletion_is_the_area_of_a_loop(steps: int) -> None:
    x, heat, chosen = inputs(), heats(), classes()
    found = deletion(x, heat, chosen, LinearScorer(), SEEDS, steps=steps)
    assert found.scores.shape == (3, steps + 1)
    for i in range(3):
        naive = naive_area(x[i].numpy(), np.zeros_like(x[i].numpy()), heat[i].numpy(), int(chosen[i]), steps)
        assert float(found.area[i]) == pytest.approx(naive, abs=1e-5)


@pytest.mark.parametrize("steps", [2, 7, 16])
def test_insertion_is_the_area_of_a_loop(steps: int) -> None:
    x, heat, chosen = inputs(), heats(), classes()
    blurred = blur(x)
    found = insertion(x, heat, chosen, LinearScorer(), SEEDS, steps=steps)
    for i in range(3):
        naive = naive_area(blurred[i].numpy(), x[i].numpy(), heat[i].numpy(), int(chosen[i]), steps)
        assert float(found.area[i]) == pytest.approx(naive, abs=1e-5)


def test_the_blur_is_scipys_gaussian_mirrored_at_the_border() -> None:
    x = inputs(1, 64, 96)
    kernel, sigma = blur_width(64, 96)
    half = kernel // 2
    expected = x.numpy().astype(np.float64)
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="mirror", radius=half)
    assert np.abs(blur(x).numpy() - expected).max() < 1e-5


def test_the_blur_is_that_of_the_paper_at_its_size_and_scales_with_it() -> None:
    assert blur_width(224, 224) == (51, 20.0)
    assert blur_width(224, 400) == (51, 20.0)
    kernel, sigma = blur_width(448, 448)
    assert kernel in (101, 103)
    assert sigma == 40.0


def test_a_batch_gives_what_single_images_give_whatever_its_chunks() -> None:
    x, heat, chosen = inputs(), heats(), classes()
    for metric in (deletion, insertion):
        together = metric(x, heat, chosen, LinearScorer(), SEEDS, steps=6, batch=32).scores
        small = metric(x, heat, chosen, LinearScorer(), SEEDS, steps=6, batch=2).scores
        assert torch.allclose(together, small, atol=1e-6)
        for i in range(3):
            one = metric(x[i : i + 1], heat[i : i + 1], chosen[i : i + 1], LinearScorer(), SEEDS[i : i + 1], steps=6)
            assert torch.allclose(one.scores[0], together[i], atol=1e-6)


def test_no_more_inputs_exist_at_once_than_asked_for() -> None:
    scorer = LinearScorer()
    deletion(inputs(), heats(), classes(), scorer, SEEDS, steps=16, batch=4)
    assert max(scorer.batches) == 4
    assert sum(scorer.batches) == 3 * 17


def test_known_ends_save_passes_and_change_nothing() -> None:
    x, heat, chosen, scorer = inputs(), heats(), classes(), LinearScorer()
    ends = scorer(x, chosen), scorer(torch.zeros_like(x), chosen)
    scorer.batches.clear()
    short = deletion(x, heat, chosen, scorer, SEEDS, steps=5, ends=ends)
    assert sum(scorer.batches) == 3 * 4
    assert torch.allclose(short.scores, deletion(x, heat, chosen, scorer, SEEDS, steps=5).scores)


def test_ranks_are_the_descending_order() -> None:
    heat = heats(2)
    ranks = pixel_ranks(heat, [0, 1])
    for i in range(2):
        assert (np.argsort(-heat[i].numpy().ravel()) == np.argsort(ranks[i].numpy().ravel())).all()


def test_equal_values_are_ordered_by_the_seed_and_not_by_position() -> None:
    flat = torch.full((3, 30, 30), 0.5)
    ranks = pixel_ranks(flat, [1, 1, 2]).flatten(1)
    assert torch.equal(ranks[0], ranks[1])
    assert not torch.equal(ranks[0], ranks[2])
    assert torch.equal(ranks[0].sort().values, torch.arange(900))
    places = torch.arange(900).double()
    # Spearman with the position: of a random permutation its deviation is 1/√899 = 0.033.
    assert abs(np.corrcoef(places, ranks[0].double())[0, 1]) < 0.12


def test_a_tie_inside_a_map_keeps_the_order_of_the_others() -> None:
    heat = torch.zeros(1, 10, 10)
    heat[0, 3, 4], heat[0, 9, 9] = 1.0, 0.5
    ranks = pixel_ranks(heat, [8])[0]
    assert int(ranks[3, 4]) == 0
    assert int(ranks[9, 9]) == 1


def test_the_right_pixels_first_beat_the_wrong_ones() -> None:
    """What raises the class most, first: for a linear model the best order is known, and its reverse is the worst."""
    x, chosen = inputs(1), classes(1)
    scorer = LinearScorer()
    weight = scorer.weights[0] - scorer.weights[1:].mean(0)
    use = (weight.reshape(x.shape[1:]) * x[0]).sum(0)
    good = (use - use.min()) / (use.max() - use.min())
    first = deletion(x, good[None], chosen, scorer, [0], steps=8).area
    last = deletion(x, (1 - good)[None], chosen, scorer, [0], steps=8).area
    assert float(first) < float(last) - 0.1
