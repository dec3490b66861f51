"""One network with its outputs in every form, named as `factory:tests.output_kinds:softmax_module`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tiny import build


@dataclass
class Scores:
    chances: Tensor
    raw: Tensor


class Returning(nn.Module):
    """The tiny network with logits of usual size, and what becomes of them."""

    def __init__(self, change: Callable[[Tensor], Any] = lambda z: z, scale: float = 20.0) -> None:
        super().__init__()
        self.net = build()
        with torch.no_grad():
            self.net.head.weight.mul_(scale)  # type: ignore[union-attr, operator]
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


def one(z: Tensor) -> Tensor:
    """The logit of the second of two classes."""
    return z[:, 1:2] - z[:, 0:1]


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "plain": lambda z: z,
    "softmax": lambda z: F.softmax(z, dim=1),
    "own_softmax": lambda z: z.exp() / z.exp().sum(1, keepdim=True),
    "half_softmax": lambda z: F.softmax(z, dim=1).half(),
    "log_softmax": lambda z: F.log_softmax(z, dim=1),
    "nested_softmax": lambda z: {"probabilities": F.softmax(z, dim=1)},
    "sigmoid": lambda z: torch.sigmoid(one(z)),
    "sigmoid_flat": lambda z: torch.sigmoid(one(z)).squeeze(1),
    "own_sigmoid": lambda z: 1 / (1 + torch.exp(-one(z))),
    "log_sigmoid": lambda z: F.logsigmoid(one(z)),
    "multi_label": lambda z: torch.sigmoid(z),
    "one_logit": one,
    "argmax": lambda z: z.argmax(1),
    "argmax_float": lambda z: z.argmax(1).float(),
    "threshold": lambda z: (one(z) > 0).float(),
    "rounded": lambda z: torch.round(torch.sigmoid(z)),
    "probabilities_first": lambda z: (F.softmax(z, dim=1), z),
    "logits_first": lambda z: (z, F.softmax(z, dim=1)),
    "sigmoids_first": lambda z: (torch.sigmoid(z), z),
    "entries": lambda z: {"chances": F.softmax(z, dim=1), "raw": z},
    "fields": lambda z: Scores(F.softmax(z, dim=1), z),
    "features_first": lambda z: (z[:, :3] * 7, F.softmax(z, dim=1)),
    "column": lambda z: z[:, :, None],
    "pixel": lambda z: z[:, :, None, None],
    "age": lambda z: 40 + one(z),
    "unit": lambda z: F.normalize(z.repeat(1, 16), dim=1),
}


def __getattr__(name: str) -> Callable[[], nn.Module]:
    if name not in CHANGES:
        raise AttributeError(name)
    return lambda: Returning(CHANGES[name])


def softmax_module() -> nn.Module:
    return nn.Sequential(Returning(), nn.Softmax(dim=1))


def log_softmax_module() -> nn.Module:
    return nn.Sequential(Returning(), nn.LogSoftmax(dim=1))


def sigmoid_module() -> nn.Module:
    return nn.Sequential(Returning(one), nn.Sigmoid())


def certain() -> nn.Module:
    """Of a probability that float32 rounds to 1."""
    return Returning(CHANGES["softmax"], scale=3000.0)


def regression() -> nn.Module:
    module = Returning(one)
    module.config = type("Config", (), {"problem_type": "regression"})()  # type: ignore[assignment]
    return module


def animals() -> nn.Module:
    module = Returning(one)
    module.class_names = ["cat", "dog"]  # type: ignore[assignment]
    return module
