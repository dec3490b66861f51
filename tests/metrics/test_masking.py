"""The figures of x ⊙ L: by hand, by loops, and beside grad-cam's where it has the same definition."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from torchcam.metrics import ClassificationMetric

from camcli.metrics.adcc import adcc, coherency, complexity
from camcli.metrics.drop import average_drop
from camcli.metrics.gain import average_gain
from camcli.metrics.increase import average_increase
from camcli.metrics.masking import masked_scores
from camcli.metrics.win import win, would_win

from .standin import LinearScorer, classes, heats, inputs


def test_masked_scores_are_those_of_the_product() -> None:
    x, heat, chosen, scorer = inputs(), heats(), classes(), LinearScorer()
    found = masked_scores(x, heat, chosen, scorer, batch=2)
    for i in range(3):
        assert float(found[i]) == pytest.approx(scorer.one((x[i] * heat[i]).numpy(), int(chosen[i])), abs=1e-6)


def test_drop_increase_and_gain_by_hand() -> None:
    y, o = torch.tensor([0.8, 0.5, 0.5]), torch.tensor([0.2, 0.75, 0.5])
    assert average_drop(y, o).tolist() == pytest.approx([0.75, 0.0, 0.0])
    assert average_increase(y, o).tolist() == [0.0, 1.0, 0.0]
    assert average_gain(y, o).tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_images_on_the_edge_leave_the_quotient_they_would_spoil() -> None:
    y, o = torch.tensor([1e-7, 1.0 - 1e-8, 0.5]), torch.tensor([0.5, 0.5, 0.25])
    assert [math.isnan(v) for v in average_drop(y, o)] == [True, False, False]
    assert [math.isnan(v) for v in average_gain(y, o)] == [False, True, False]


class Net(torch.nn.Module):
    """The stand-in scorer as a network that returns probabilities."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch.flatten(1) @ LinearScorer().weights.T).softmax(1)


class Given:
    """Maps that are there already, as torchcam's metric takes them from an extractor."""

    def __init__(self, maps: torch.Tensor) -> None:
        self.model, self.maps = Net(), maps
        self._hooks_off = nullcontext

    def __call__(self, *_: object) -> list[torch.Tensor]:
        return [self.maps]

    def fuse_cams(self, cams: list[torch.Tensor]) -> torch.Tensor:
        return cams[0]


def test_drop_and_increase_are_torchcams() -> None:
    """torchcam.metrics.ClassificationMetric: both averages over the images, of the same definitions."""
    x, heat, scorer = inputs(6), heats(6), LinearScorer()
    chosen = Net()(x).argmax(1)
    metric = ClassificationMetric(Given(heat))
    metric.update(x)
    y, o = scorer(x, chosen), masked_scores(x, heat, chosen, scorer)
    assert float(average_drop(y, o).mean()) == pytest.approx(metric.summary()["avg_drop"], abs=1e-5)
    assert float(average_increase(y, o).mean()) == pytest.approx(metric.summary()["conf_increase"])


def test_the_change_of_confidence_is_grad_cams() -> None:
    """pytorch_grad_cam's DropInConfidence is relu(Y − O), not divided by Y; its IncreaseInConfidence is [O > Y]."""
    x, heat, chosen, scorer = inputs(), heats(), classes(), LinearScorer()
    targets = [lambda out, c=int(c): out[c] for c in chosen]
    y, o = scorer(x, chosen), masked_scores(x, heat, chosen, scorer)
    drop = DropInConfidence()(x, heat.numpy(), targets, Net())
    increase = IncreaseInConfidence()(x, heat.numpy(), targets, Net())
    assert (average_drop(y, o) * y).numpy() == pytest.approx(drop, abs=1e-6)
    assert average_increase(y, o).numpy() == pytest.approx(increase)


def test_a_win_is_the_smallest_drop_and_shared_between_equals() -> None:
    drops = np.array([[0.1, 0.5, 0.3, np.nan], [0.2, 0.5, 0.1, 0.1], [0.4, 0.6, 0.2, 0.2]])
    found = win(drops)
    assert found[:, :3].tolist() == [[1, 0.5, 0], [0, 0.5, 1], [0, 0, 0]]
    assert np.isnan(found[:, 3]).all()
    assert (found[:, :3].sum(0) == 1).all()
    assert would_win(np.array([0.0, 0.5, 0.2, 0.0]), drops)[:3].tolist() == [1, pytest.approx(1 / 3), 0]


def test_win_is_shared_where_drops_differ_by_rounding():
    drops = np.array([[0.25, 0.1], [0.25 + 1e-8, 0.3]])
    assert win(drops).tolist() == [[0.5, 1.0], [0.5, 0.0]]


def test_adcc_is_the_harmonic_mean_of_its_parts() -> None:
    maps, again = heats(3, seed=1), heats(3, seed=2)
    drop = torch.tensor([0.1, 0.5, 0.9])
    for i in range(3):
        pearson = np.corrcoef(maps[i].numpy().ravel(), again[i].numpy().ravel())[0, 1]
        parts = [(pearson + 1) / 2, 1 - float(maps[i].mean()), 1 - float(drop[i])]
        assert float(adcc(drop, maps, again)[i]) == pytest.approx(3 / sum(1 / part for part in parts), abs=1e-5)


def test_adcc_at_its_ends() -> None:
    maps = heats(1)
    assert float(coherency(maps, maps)) == pytest.approx(1.0)
    assert float(coherency(maps, 1 - maps)) == pytest.approx(0.0, abs=1e-6)
    assert float(coherency(maps, torch.ones_like(maps))) == 0.5
    assert float(complexity(torch.ones(1, 4, 4))) == 1.0
    assert float(adcc(torch.zeros(1), torch.ones(1, 4, 4), torch.ones(1, 4, 4))) == 0.0
    assert math.isnan(float(adcc(torch.tensor([math.nan]), maps, maps)))
