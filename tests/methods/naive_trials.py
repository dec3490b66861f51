"""The formulas of methods that try the score on other inputs or activations: float64, a trial at a time."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.methods.base import generator

from .naive import Case


def up(grid: Tensor, size) -> Tensor:
    """Bilinear, corners not aligned: each pixel's centre is looked up between the centres of the cells."""
    height, width = grid.shape
    made = torch.zeros(*size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            made[i, j] = (
                grid[top, left] * (1 - dy) * (1 - dx) + grid[top, right] * (1 - dy) * dx
                + grid[bottom, left] * dy * (1 - dx) + grid[bottom, right] * dy * dx
            )  # fmt: skip
    return made


def n01(m: Tensor) -> Tensor:
    low, high = float(m.min()), float(m.max())
    return torch.zeros_like(m) if low == high else (m - low) / (high - low)


def _softmax(values) -> list[float]:
    top = max(values)
    exponents = [math.exp(v - top) for v in values]
    return [e / sum(exponents) for e in exponents]


def _masking(x: Case, rounds) -> np.ndarray:
    nothing = x.of(torch.zeros_like(x.pixels))
    scores = [0.0] * len(x.a)
    for maps, factor in rounds:
        for k in range(len(x.a)):
            mask = n01(up(maps[k], x.pixels.shape[1:])) * factor
            scores[k] += (x.of(x.pixels * mask) - nothing) / len(rounds)
    return x.weighted_sum(_softmax(scores))


def scorecam(x: Case) -> np.ndarray:
    return _masking(x, [(x.activation, 1.0)])


def sscam(x: Case) -> np.ndarray:
    source = generator(x.seed)
    noise = [torch.randn(x.activation.shape, generator=source).double() for _ in range(2)]
    return _masking(x, [(x.activation + 2.0 * n, 1.0) for n in noise])


def iscam(x: Case) -> np.ndarray:
    return _masking(x, [(x.activation, i / 2) for i in (1, 2)])


def ablationcam(x: Case, fill: str = "zero") -> np.ndarray:
    whole = float(x.behind_now(x.activation))
    weights = []
    for k in range(len(x.a)):
        ablated = x.activation.clone()
        ablated[k] = ablated[k].mean() if fill == "mean" else 0
        weights.append((whole - float(x.behind_now(ablated))) / abs(whole))
    return x.weighted_sum(weights)


def reciprocam(x: Case) -> np.ndarray:
    nothing = float(x.behind_now(torch.zeros_like(x.activation)))
    made = np.zeros(x.a.shape[1:])
    for i, j in x.cells():
        mask = torch.zeros(x.activation.shape[1:], dtype=torch.float64)
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                if 0 <= i + di < mask.shape[0] and 0 <= j + dj < mask.shape[1]:
                    mask[i + di, j + dj] = 0.5 ** (abs(di) + abs(dj))
        made[i, j] = float(x.behind_now(x.activation * mask)) - nothing
    return made


def groupcam(x: Case) -> np.ndarray:
    # As many groups as channels here, one channel each: the networks have fewer than 32.
    weights = [sum(x.g[k][c] for c in x.cells()) / len(x.cells()) for k in range(len(x.a))]
    blur = _blur(x.pixels)
    base = float(x.probability(blur).detach())
    total = np.zeros(x.a.shape[1:])
    for k, weight in enumerate(weights):
        part = np.maximum(weight * x.a[k], 0)
        part = np.where(part < np.quantile(part, 0.7), 0, part)
        reward = n01(torch.from_numpy(part))
        mask = up(reward, x.pixels.shape[1:])
        gain = float(x.probability(x.pixels * mask + blur * (1 - mask)).detach()) - base
        total += max(gain, 0.0) * reward.numpy()
    return np.maximum(total, 0)


def _blur(pixels: Tensor) -> Tensor:
    """Kernel 51, sigma 50 at 224 pixels: at 16 pixels 3 taps (51 · 16 / 224 = 3.6), sigma 50 · 16 / 224."""
    sigma = 50 * 16 / 224
    taps = [math.exp(-(t**2) / (2 * sigma**2)) for t in (-1, 0, 1)]
    kernel = torch.tensor([[a * b for a in taps] for b in taps], dtype=torch.float64)
    padded = F.pad(pixels[None], (1, 1, 1, 1), mode="reflect")[0]
    made = torch.zeros_like(pixels)
    for i in range(pixels.shape[1]):
        for j in range(pixels.shape[2]):
            made[:, i, j] = (padded[:, i : i + 3, j : j + 3] * kernel / kernel.sum()).sum((1, 2))
    return made


def rise(x: Case) -> np.ndarray:
    source, count, size = generator(x.seed), 30, x.pixels.shape[1]
    grids = (torch.rand(count, 7, 7, generator=source) < 0.5).double()
    shifts = torch.rand(count, 2, generator=source)
    cell = math.ceil(size / 7)
    total = torch.zeros(size, size, dtype=torch.float64)
    for grid, (dy, dx) in zip(grids, shifts, strict=True):
        large = up(grid, (8 * cell, 8 * cell))
        top, left = int(float(dy) * cell), int(float(dx) * cell)
        mask = large[top : top + size, left : left + size]
        total += float(x.probability(x.pixels * mask).detach()) * mask
    return (total / (0.5 * count)).numpy()


def opticam(x: Case) -> np.ndarray:
    """Three steps of Adam, written out."""
    u = torch.zeros(len(x.a), dtype=torch.float64)
    first, second = torch.zeros_like(u), torch.zeros_like(u)
    for step in (1, 2, 3):
        leaf = u.clone().requires_grad_()
        mixed = (torch.softmax(leaf, 0)[:, None, None] * x.activation).sum(0)
        mask = F.interpolate(mixed[None, None], x.pixels.shape[1:], mode="bilinear", align_corners=False)[0, 0]
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        (gradient,) = torch.autograd.grad(-x.probability(x.pixels * mask), leaf)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        u = u - 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return x.weighted_sum(torch.softmax(u, 0))
