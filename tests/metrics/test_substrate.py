"""Substrates of the insertion and deletion curves, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from camcli.metrics import METRICS, Images, Sample
from camcli.metrics.blur import blur_width
from camcli.metrics.substrate import SUBSTRATES, substrate
from tests.metrics.standin import HEIGHT, WIDTH, LinearScorer, classes, heats, inputs
from tests.metrics.test_perturbation_curves import naive_area

STEPS = 6
SEEDS = [5, 6, 7]


def naive_substrate(key: str, x: np.ndarray) -> np.ndarray:
    """Of one image (C, H, W), in float64; noise has no loop."""
    x = x.astype(np.float64)
    if key == "zero":
        return np.zeros_like(x)
    if key == "mean":
        replaced = np.empty_like(x)
        for channel, values in enumerate(x):
            replaced[channel] = sum(values.ravel()) / values.size
        return replaced
    kernel, sigma = blur_width(HEIGHT, WIDTH)
    for axis in (1, 2):
        x = gaussian_filter1d(x, sigma, axis=axis, mode="mirror", radius=kernel // 2)
    return x


@pytest.mark.parametrize("key", ["blur", "mean", "zero"])
def test_a_substrate_is_its_loop(key: str) -> None:
    x = inputs()
    for found, one in zip(substrate(key, x, SEEDS), x, strict=True):
        assert np.abs(found.numpy() - naive_substrate(key, one.numpy())).max() < 1e-5


def test_noise_is_standard_normal_and_depends_on_the_seed_alone() -> None:
    x = inputs(4, 96, 96)
    noise = substrate("noise", x, [1, 2, 2, 2**63 - 1])
    assert torch.equal(noise[1], noise[2])
    assert torch.equal(noise[1:2], substrate("noise", -x[:1], [2]))
    assert not torch.equal(noise[0], noise[1])
    n = x[0].numel()
    for one in noise:
        assert abs(float(one.mean())) < 4 / n**0.5
        assert float(one.var()) == pytest.approx(1, abs=4 * (2 / n) ** 0.5)
    assert abs(float((noise[0] * noise[1]).mean())) < 4 / n**0.5


@pytest.mark.parametrize("key", [None, *SUBSTRATES])
def test_both_curves_are_loops_with_the_substrate(key: str | None) -> None:
    x, heat, chosen = inputs(), heats(), classes()
    images = Images(x, chosen, SEEDS, None, LinearScorer(), STEPS, batch=4, substrate=key)
    sample = Sample(images, heat, heat, lambda _: heat)
    measured = {name: sample.once(METRICS[name].measure) for name in ("insertion", "deletion", "ins-del")}
    for i, one in enumerate(x.double().numpy()):
        start, end = (
            substrate("noise", x, SEEDS)[i].double().numpy() if used == "noise" else naive_substrate(used, one)
            for used in (key or "blur", key or "zero")
        )
        inserted = naive_area(start, one, heat[i].numpy(), int(chosen[i]), STEPS)
        deleted = naive_area(one, end, heat[i].numpy(), int(chosen[i]), STEPS)
        assert float(measured["insertion"][i]) == pytest.approx(inserted, abs=1e-5)
        assert float(measured["deletion"][i]) == pytest.approx(deleted, abs=1e-5)
        assert float(measured["ins-del"][i]) == pytest.approx(inserted - deleted, abs=2e-5)


def test_one_substrate_for_both_curves_is_scored_once() -> None:
    scorer = LinearScorer()
    images = Images(inputs(), classes(), SEEDS, None, scorer, STEPS, batch=4, substrate="noise")
    for _ in range(2):  # two maps of the same images
        sample = Sample(images, heats(), heats(), lambda _: heats())
        sample.once(METRICS["ins-del"].measure)  # type: ignore[arg-type]
    assert sum(scorer.batches) == 2 * 3 + 2 * 2 * 3 * (STEPS - 1)
