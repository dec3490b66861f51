"""The counter-based generator: its published values, its distribution, and what a number depends on."""

from __future__ import annotations

import pytest
import torch

from camcli.methods.philox import noise_key, normal_noise, philox

from .naive import philox_normal


def noise(seeds: list[int], sample: int, shape: tuple[int, ...]) -> torch.Tensor:
    return normal_noise(noise_key(seeds, torch.device("cpu")), sample, shape)


def words(text: str) -> list[torch.Tensor]:
    return [torch.tensor([int(word, 16)]) for word in text.split()]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_words_are_those_of_random123(counter, key, expected):
    assert torch.equal(torch.stack(philox(words(counter), words(key))), torch.stack(words(expected)))


def test_the_noise_is_the_scalar_formula():
    seeds = [5, (1 << 63) - 11]
    drawn = noise(seeds, 3, (3, 5, 7))
    assert drawn.dtype == torch.float32
    for seed, own in zip(seeds, drawn.flatten(1), strict=True):
        expected = torch.tensor([philox_normal(seed, 3, place) for place in range(105)], dtype=torch.float64)
        assert torch.allclose(own.double(), expected, rtol=1e-6)


def test_the_noise_is_standard_normal():
    values = noise([1, 2], 0, (3, 512, 512)).double().flatten()
    count = len(values)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((values**power).mean()) - expected) < 4 * (variance / count) ** 0.5 + 1e-3
    for lag in (1, 2, 4, 8, 512):
        assert abs(float((values[lag:] * values[:-lag]).mean())) < 4 / count**0.5


def test_the_noise_of_an_image_depends_on_its_seed_and_the_sample_alone():
    together = noise([7, 8, 9], 1, (3, 6, 6))
    assert torch.equal(together[1:2], noise([8], 1, (3, 6, 6)))
    assert torch.equal(together[0].flatten()[:20], noise([7], 1, (20,))[0])
    every = [
        *together,
        *noise([7, 8, 9], 2, (3, 6, 6)),
        noise([7 + (1 << 32)], 1, (3, 6, 6))[0],
    ]
    for i, one in enumerate(every):
        for other in every[:i]:
            assert abs(float((one * other).mean())) < 4 / 108**0.5
