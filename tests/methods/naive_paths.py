"""PathCAM from its formula: float64, one image, one trial at a time, and the whole network run for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .naive import Case
from .naive_trials import up


@dataclass(frozen=True)
class Place:
    """A layer: its activation (K, h, w) in float64, and the logits (classes,) with another one in its place."""

    activation: Tensor
    logits: Callable[[Tensor], Tensor]


def places(net: nn.Module, paths: Iterable[str], pixels: Tensor, grid: tuple[int, int] | None = None) -> list[Place]:
    """Of a network, which runs from the image on for every trial; ``grid`` for tokens behind one class token."""
    net, pixels = net.double(), pixels.double()

    def place(path: str) -> Place:
        module, kept = net.get_submodule(path), []
        with module.register_forward_hook(lambda _m, _args, output: kept.append(output.detach()[0].clone())):
            net(pixels[None])
        whole = kept[0]
        own = whole if grid is None else torch.stack([whole[1:, k].reshape(grid) for k in range(whole.shape[1])])

        def logits(activation: Tensor) -> Tensor:
            native = activation
            if grid is not None:
                rows = [activation[:, i, j] for i in range(grid[0]) for j in range(grid[1])]
                native = torch.stack([whole[0], *rows])
            with module.register_forward_hook(lambda *_: native[None].clone()):
                return net(pixels[None])[0]

        return Place(own, logits)

    return [place(path) for path in paths]


def pathcam(
    layers: list[Place], target: int, steps: int = 8, ordered: int = 4, sign: int = 1, link: str = "softmax"
) -> np.ndarray:
    def odds(z: Tensor) -> Tensor:
        if link == "sigmoid" or len(z) == 1:
            return sign * z[target]
        return sign * (z[target] - torch.log(sum(torch.exp(z[j]) for j in range(len(z)) if j != target)))

    def probability(z: Tensor) -> Tensor:
        if link == "sigmoid":
            return sign / (1 + torch.exp(-z[target]))
        return sign * torch.exp(z[target]) / sum(torch.exp(z[j]) for j in range(len(z)))

    height = max(place.activation.shape[1] for place in layers)
    width = max(place.activation.shape[2] for place in layers)
    straight, removed = torch.zeros(height, width).double(), torch.zeros(height, width).double()
    for place in layers:
        weights = [torch.full(place.activation.shape[1:], (t - 0.5) / steps).double() for t in range(1, steps + 1)]
        straight += resized(contributions(place, weights, odds), (height, width))
    if not ordered:
        return straight.numpy()
    ranks = descending(straight)
    for place in layers:
        own = averaged(ranks, (place.activation.shape[1], place.activation.shape[2]))
        masks = []
        for k in range(1, ordered + 1):
            mask = torch.zeros_like(own)
            for i in range(own.shape[0]):
                for j in range(own.shape[1]):
                    mask[i, j] = 1 / (1 + math.exp(-((k - 0.5) / ordered - float(own[i, j])) / 0.15))
            masks += [mask, 1 - mask]
        removed += resized(contributions(place, masks, probability), (height, width))
    return (straight / straight.abs().mean() + removed / removed.abs().mean()).numpy()


def contributions(place: Place, weights: list[Tensor], score: Callable[[Tensor], Tensor]) -> Tensor:
    a = place.activation
    mean = torch.zeros_like(a)
    for k in range(len(a)):
        mean[k] = a[k].sum() / a[k].numel()
    total = torch.zeros_like(a)
    for weight in weights:
        leaf = (mean + weight * (a - mean)).requires_grad_()
        total += torch.autograd.grad(score(place.logits(leaf)), leaf)[0]
    return sum((a[k] - mean[k]) * total[k] / len(weights) for k in range(len(a)))


def resized(cells: Tensor, size: tuple[int, int]) -> Tensor:
    return up(cells, size) * (cells.shape[0] / size[0]) * (cells.shape[1] / size[1])


def descending(cells: Tensor) -> Tensor:
    values = cells.flatten().tolist()
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    ranks = torch.zeros(len(values)).double()
    for rank, i in enumerate(order):
        ranks[i] = rank / (len(values) - 1)
    return ranks.reshape(cells.shape)


def averaged(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Of grids whose sides are whole multiples."""
    y, x = cells.shape[0] // size[0], cells.shape[1] // size[1]
    own = torch.zeros(*size).double()
    for i in range(size[0]):
        for j in range(size[1]):
            own[i, j] = cells[i * y : (i + 1) * y, j * x : (j + 1) * x].mean()
    return own


def pathcam_of_case(x: Case) -> np.ndarray:
    return pathcam([Place(x.activation, x.logits)], x.target, sign=-1 if x.score == "neg-logit" else 1)
