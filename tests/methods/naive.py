"""The formulas of activations and gradients once more: float64, one image, plain loops, slow and easy to check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

SCORES = {
    "logit": lambda z, c: z[c],
    "neg-logit": lambda z, c: -z[c],
    "prob": lambda z, c: torch.softmax(z, 0)[c],
}


@dataclass(frozen=True)
class Case:
    """One image of a network in float64.

    Attributes:
        prefix, tail: what comes before a layer's output, and behind it, both for a batch of one.
        pixels: (3, H, W) float64.
        target: the class.
        score: what is explained.
        seed: of the image.
    """

    prefix: nn.Module
    tail: nn.Module
    pixels: Tensor
    target: int
    score: str = "logit"
    seed: int = 0

    def logits(self, activation: Tensor) -> Tensor:
        return self.tail(activation[None].clone())[0]

    def behind(self, activation: Tensor) -> Tensor:
        """S of an activation (K, h, w)."""
        return SCORES[self.score](self.logits(activation), self.target)

    def behind_now(self, activation: Tensor) -> Tensor:
        return self.behind(activation).detach()

    def of(self, pixels: Tensor) -> float:
        """S of an image."""
        with torch.no_grad():
            return float(self.behind(self.prefix(pixels[None])[0]))

    def probability(self, pixels: Tensor) -> Tensor:
        return torch.softmax(self.logits(self.prefix(pixels[None])[0]), 0)[self.target]

    def gradient(self, pixels: Tensor, score=None) -> np.ndarray:
        a = self.prefix(pixels[None])[0].detach().requires_grad_()
        return torch.autograd.grad((score or self.behind)(a), a)[0].numpy()

    @cached_property
    def activation(self) -> Tensor:
        return self.prefix(self.pixels[None])[0].detach()

    @cached_property
    def a(self) -> np.ndarray:
        return self.activation.numpy()

    @cached_property
    def g(self) -> np.ndarray:
        return self.gradient(self.pixels)

    def cells(self):
        _, height, width = self.a.shape
        return [(i, j) for i in range(height) for j in range(width)]

    def weighted_sum(self, weights) -> np.ndarray:
        total = np.zeros(self.a.shape[1:])
        for k, weight in enumerate(weights):
            total += float(weight) * self.a[k]
        return total


def gradcam(x: Case, g=None) -> np.ndarray:
    g = x.g if g is None else g
    return x.weighted_sum([sum(g[k][c] for c in x.cells()) / len(x.cells()) for k in range(len(x.a))])


def gradcampp(x: Case) -> np.ndarray:
    weights = []
    for k in range(len(x.a)):
        total = sum(x.a[k][c] for c in x.cells())
        weight = 0.0
        for c in x.cells():
            g = x.g[k][c]
            below = 2 * g**2 + total * g**3
            if g > 0 and abs(2 + total * g) >= 1e-6:
                weight += g**2 / below * g
        weights.append(weight)
    return x.weighted_sum(weights)


@lru_cache(maxsize=1 << 12)
def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 with whole numbers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        one, other = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(other >> 32) ^ c[1] ^ k[0], other % 2**32, (one >> 32) ^ c[3] ^ k[1], one % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return tuple(c)


def philox_normal(seed: int, sample: int, place: int) -> float:
    word = philox((place // 8, sample, 0, 0), (seed % 2**32, seed // 2**32))[place % 8 // 2]
    half = word // 2**16 if place % 2 else word % 2**16
    return NormalDist().inv_cdf((half + 0.5) / 2**16)


def smoothgradcampp(x: Case) -> np.ndarray:
    spread = 0.15 * (x.pixels.max() - x.pixels.min())
    gradients = []
    for sample in range(4):
        values = [philox_normal(x.seed, sample, place) for place in range(x.pixels.numel())]
        noise = torch.tensor(values, dtype=torch.float64).reshape(x.pixels.shape)
        gradients.append(x.gradient(x.pixels + noise * spread))
    weights = []
    for k in range(len(x.a)):
        total = sum(x.a[k][c] for c in x.cells())
        weight = 0.0
        for c in x.cells():
            first, second, third = (np.mean([g[k][c] ** n for g in gradients]) for n in (1, 2, 3))
            if first > 0 and abs(2 * second + total * third) > 1e-6 * (2 * second + abs(total * third)):
                weight += second / (2 * second + total * third) * first
        weights.append(weight)
    return x.weighted_sum(weights)


def xgradcam(x: Case) -> np.ndarray:
    weights = []
    for k in range(len(x.a)):
        below = sum(x.a[k][c] for c in x.cells())
        vanishes = abs(below) <= 1e-6 * sum(abs(x.a[k][c]) for c in x.cells())
        weights.append(0.0 if vanishes else sum(x.g[k][c] * x.a[k][c] for c in x.cells()) / below)
    return x.weighted_sum(weights)


def _per_cell(x: Case, term) -> np.ndarray:
    total = np.zeros(x.a.shape[1:])
    for k in range(len(x.a)):
        for c in x.cells():
            total[c] += term(x.g[k][c], x.a[k][c])
    return total


def hirescam(x: Case) -> np.ndarray:
    return _per_cell(x, lambda g, a: g * a)


def gradcamelementwise(x: Case) -> np.ndarray:
    return _per_cell(x, lambda g, a: max(g * a, 0.0))


def layercam(x: Case) -> np.ndarray:
    return _per_cell(x, lambda g, a: max(g, 0.0) * a)


def shapleycam(x: Case) -> np.ndarray:
    hessian = torch.autograd.functional.hessian(x.behind, x.activation)
    size = x.activation.numel()
    bent = (hessian.reshape(size, size) @ x.activation.flatten()).reshape(x.a.shape).numpy()
    return gradcam(x, x.g - 0.5 * bent)


def finercam(x: Case) -> np.ndarray:
    z = x.logits(x.activation).detach()
    others = sorted((abs(float(z[c] - z[x.target])), c) for c in range(len(z)) if c != x.target)
    nearest = [c for _, c in others[:3]]

    def contrast(a: Tensor) -> Tensor:
        z = x.logits(a)
        return z[x.target] - 0.6 * sum(z[c] for c in nearest) / 3

    return gradcam(x, x.gradient(x.pixels, contrast))


def _rows(maps: np.ndarray) -> np.ndarray:
    cells = [(i, j) for i in range(maps.shape[1]) for j in range(maps.shape[2])]
    rows = np.array([[channel[cell] for channel in maps] for cell in cells])
    return rows - rows.mean(axis=0)


def _signed(scores: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    agreement = 0.0 if reference is None else np.corrcoef(scores, reference.ravel())[0, 1]
    wrong = agreement < 0 if abs(agreement) >= 0.1 else abs(scores.min()) > abs(scores.max())
    return -scores if wrong else scores


def principal(maps: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    """The first principal component of the positions, signed by a reference map."""
    rows = _rows(maps)
    v = np.linalg.svd(rows, full_matrices=False)[2][0]
    return _signed(rows @ v, reference).reshape(maps.shape[1:])


def eigencam(x: Case) -> np.ndarray:
    return principal(x.a, np.abs(x.a).sum(axis=0))


def eigengradcam(x: Case) -> np.ndarray:
    return principal(x.a * x.g, (x.a * x.g).sum(axis=0))


def segeigencam(x: Case) -> np.ndarray:
    return principal(x.a * np.abs(x.g), None)


def kpcacam(x: Case) -> np.ndarray:
    rows = _rows(x.a)
    n = len(rows)
    kernel = np.array([[np.tanh(rows[i] @ rows[j] / rows.shape[1] + 1) for j in range(n)] for i in range(n)])
    centring = np.eye(n) - np.ones((n, n)) / n
    values, vectors = np.linalg.eigh(centring @ kernel @ centring)
    return _signed(np.sqrt(values[-1]) * vectors[:, -1], np.abs(x.a).sum(axis=0)).reshape(x.a.shape[1:])


def fem(x: Case) -> np.ndarray:
    weights = []
    for channel in x.a:
        bar = channel.mean() + 2 * np.sqrt(((channel - channel.mean()) ** 2).mean())
        weights.append(sum(channel[c] > bar for c in x.cells()) / len(x.cells()))
    return x.weighted_sum(weights)


def lafam(x: Case) -> np.ndarray:
    return x.weighted_sum([1 / len(x.a)] * len(x.a))
