"""The formulas once more: float64, one image, plain loops, as slow as they are easy to check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Image:
    """A and g (K, h, w), float64."""

    a: np.ndarray
    g: np.ndarray
    seed: int = 0

    def weighted(self, weights: list[float]) -> np.ndarray:
        total = np.zeros(self.a.shape[1:])
        for k, weight in enumerate(weights):
            total += weight * self.a[k]
        return total

    def cells(self):
        _, height, width = self.a.shape
        return [(i, j) for i in range(height) for j in range(width)]


def gradcam(x: Image) -> np.ndarray:
    return x.weighted([sum(x.g[k][c] for c in x.cells()) / len(x.cells()) for k in range(len(x.a))])


def gradcampp(x: Image) -> np.ndarray:
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
    return x.weighted(weights)


def xgradcam(x: Image) -> np.ndarray:
    weights = []
    for k in range(len(x.a)):
        below = sum(x.a[k][c] for c in x.cells())
        vanishes = abs(below) <= 1e-6 * sum(abs(x.a[k][c]) for c in x.cells())
        weights.append(0.0 if vanishes else sum(x.g[k][c] * x.a[k][c] for c in x.cells()) / below)
    return x.weighted(weights)


def _per_cell(x: Image, term) -> np.ndarray:
    total = np.zeros(x.a.shape[1:])
    for k in range(len(x.a)):
        for c in x.cells():
            total[c] += term(x.g[k][c], x.a[k][c])
    return total


def hirescam(x: Image) -> np.ndarray:
    return _per_cell(x, lambda g, a: g * a)


def gradcamelementwise(x: Image) -> np.ndarray:
    return _per_cell(x, lambda g, a: max(g * a, 0.0))


def layercam(x: Image) -> np.ndarray:
    return _per_cell(x, lambda g, a: max(g, 0.0) * a)


def principal(maps: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The first principal component of the positions, signed by a reference map."""
    cells = [(i, j) for i in range(maps.shape[1]) for j in range(maps.shape[2])]
    rows = np.array([[channel[cell] for channel in maps] for cell in cells])
    rows = rows - rows.mean(axis=0)
    v = np.linalg.svd(rows, full_matrices=False)[2][0]
    scores = rows @ v
    agreement = np.corrcoef(scores, reference.ravel())[0, 1]
    if agreement < 0 if abs(agreement) >= 0.1 else abs(scores.min()) > abs(scores.max()):
        scores = -scores
    return scores.reshape(maps.shape[1:])


def eigencam(x: Image) -> np.ndarray:
    return principal(x.a, np.abs(x.a).sum(axis=0))


def eigengradcam(x: Image) -> np.ndarray:
    return principal(x.a * x.g, (x.a * x.g).sum(axis=0))


NAIVE = {
    "gradcam": gradcam,
    "gradcam++": gradcampp,
    "xgradcam": xgradcam,
    "hirescam": hirescam,
    "gradcamelementwise": gradcamelementwise,
    "layercam": layercam,
    "eigencam": eigencam,
    "eigengradcam": eigengradcam,
}
