"""Imputation against a dense solution and against grad-cam's sparse one; ROAD against loops."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import Tensor

from camcli.metrics.impute import NOISE, impute
from camcli.metrics.order import pixel_ranks
from camcli.metrics.road import road

from .standin import LinearScorer, classes, heats, inputs


def dense(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """One image (C, H, W), all equations written out."""
    height, width = removed.shape
    matrix, right = np.eye(height * width), np.zeros((height * width, len(x)))
    for row, column in np.ndindex(height, width):
        here = row * width + column
        if not removed[row, column]:
            right[here] = x[:, row, column]
            continue
        matrix[here, here] = 0
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                r, c = row + down, column + across
                if (down, across) == (0, 0) or not (0 <= r < height and 0 <= c < width):
                    continue
                weight = 1 / 6 if 0 in (down, across) else 1 / 12
                matrix[here, here] += weight
                matrix[here, r * width + c] = -weight
    return np.linalg.solve(matrix, right).T.reshape(x.shape)


def smooth(count: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(count, 1, 5, 4, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, (height, width), mode="bilinear")[:, 0]


@pytest.mark.parametrize("size", [(20, 16), (7, 23), (33, 31)])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.8, 0.98])
def test_imputation_solves_the_equations(size: tuple[int, int], fraction: float) -> None:
    x = inputs(2, *size)
    for maps in (smooth(2, *size), heats(2, *size)):
        removed = pixel_ranks(maps, [0, 1]) < fraction * size[0] * size[1]
        found = impute(x, removed)
        for i in range(2):
            assert np.abs(found[i].numpy() - dense(x[i].numpy(), removed[i].numpy())).max() < 1e-4


def test_imputation_is_grad_cams_at_the_size_of_a_photograph() -> None:
    """pytorch_grad_cam.metrics.road.NoisyLinearImputer without its noise; SciPy's sparse direct solver."""
    ramp = torch.linspace(-2, 2, 160)
    x = (ramp[:, None] * ramp[None, :])[None, None].repeat(1, 3, 1, 1) + 0.3 * inputs(1, 160, 160)
    removed = pixel_ranks(smooth(1, 160, 160), [0]) < 0.6 * 160 * 160
    expected = NoisyLinearImputer(noise=0.0)(x[0], (~removed[0]).float())
    assert float((impute(x, removed)[0] - expected).abs().max()) < 2e-4


def test_known_pixels_stay_and_noise_is_seeded() -> None:
    x = inputs(2)
    removed = heats(2) < 0.5
    plain, once, again, other = impute(x, removed), *(impute(x, removed, s) for s in ([1, 2], [1, 2], [1, 3]))
    assert torch.equal(once.movedim(1, -1)[~removed], x.movedim(1, -1)[~removed])
    assert torch.equal(once, again)
    assert torch.equal(once[0], other[0])
    assert not torch.equal(once[1], other[1])
    noise = (once - plain).movedim(1, -1)[removed]
    assert float(noise.std()) == pytest.approx(NOISE, rel=0.15)


def test_a_batch_imputes_as_its_images_do() -> None:
    x, removed = inputs(3), heats(3) < 0.7
    together = impute(x, removed)
    for i in range(3):
        assert torch.allclose(impute(x[i : i + 1], removed[i : i + 1])[0], together[i], atol=1e-4)


def test_nothing_removed_changes_nothing() -> None:
    x = inputs(1)
    assert torch.equal(impute(x, torch.zeros(1, *x.shape[2:], dtype=torch.bool)), x)


def naive_road(x: np.ndarray, heat: np.ndarray, chosen: int, seed: int) -> float:
    """One image, one fraction at a time."""
    differences = []
    for fraction in (0.2, 0.4, 0.6, 0.8):
        order = np.argsort(-heat.ravel())
        scores = []
        for pixels in (order, order[::-1]):
            removed = np.zeros(heat.size, bool)
            removed[pixels[: round(fraction * heat.size)]] = True
            filled = dense(x, removed.reshape(heat.shape))
            drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).numpy()
            filled = np.where(removed.reshape(heat.shape), filled + NOISE * drawn, filled)
            scores.append(LinearScorer().one(filled, chosen))
        differences.append((scores[1] - scores[0]) / 2)
    return float(np.mean(differences))


def test_road_is_the_mean_of_a_loop() -> None:
    x, heat, chosen = inputs(), heats(), classes()
    found = road(x, heat, chosen, LinearScorer(), [0, 1, 2], batch=5)
    for i in range(3):
        naive = naive_road(x[i].numpy(), heat[i].numpy(), int(chosen[i]), i)
        assert float(found.combined[i]) == pytest.approx(naive, abs=1e-4)


def test_exactly_the_fraction_is_removed_even_of_a_constant_map(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Tensor] = []

    def spy(x: Tensor, gone: Tensor, seeds: object) -> Tensor:
        removed.append(gone)
        return x

    monkeypatch.setattr(sys.modules[road.__module__], "impute", spy)
    road(inputs(1), torch.ones(1, 20, 16), classes(1), LinearScorer(), [0])
    counts = [int(n) for n in torch.cat(removed).flatten(1).sum(1)]
    assert counts == [64, 128, 192, 256] * 2
