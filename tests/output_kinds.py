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


@dataclass(slots=True)
class Slots:
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


def then_logits(features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Features, and logits that are computed from them."""
    return features, z + F.linear(features, torch.zeros(z.shape[1], features.shape[1]))


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
    "unit_positive": lambda z: F.normalize(z.abs().repeat(1, 16), dim=1),
    "percent": lambda z: 100 * F.softmax(z, dim=1),
    "squeezed_softmax": lambda z: F.softmax(z, dim=1).squeeze(),
    "squeezed": lambda z: z.squeeze(),
    "squeezed_sigmoid": lambda z: torch.sigmoid(one(z)).squeeze(),
    "squeezed_pair": lambda z: (F.softmax(z, dim=1).squeeze(), z.squeeze()),
    "integer_keys": lambda z: {0: F.softmax(z, dim=1), 1: z},
    "slots": lambda z: Slots(F.softmax(z, dim=1), z),
    "softmax_over_images": lambda z: F.softmax(z, dim=0),
    "softmax_over_one": lambda z: F.softmax(one(z), dim=1),
    "ranks": lambda z: F.softmax(z, dim=1).topk(3),
    "sorted": lambda z: z.sort(dim=1, descending=True).values,
    "decisions": lambda z: (z > 0).float(),
    "one_hot": lambda z: F.one_hot(z.argmax(1), 4).float(),
    "landmarks": lambda z: 64 * torch.sigmoid(z),
    "expected_age": lambda z: (F.softmax(z, dim=1) * torch.tensor([0.0, 20.0, 40.0, 60.0])).sum(1, keepdim=True),
    "positive": lambda z: F.relu(one(z) + 3),
    "two_heads": lambda z: (z, z[:, :3] * 2),
    "features_then_logits": lambda z: then_logits(torch.tanh(z.repeat(1, 2)), z),
    "nothing": lambda z: None,
    "array": lambda z: z.detach().numpy(),
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


def named() -> nn.Module:
    module = Returning()
    module.class_names = ["cat", "dog", "cup", "flower"]  # type: ignore[assignment]
    return module


def animals() -> nn.Module:
    module = Returning(one)
    module.class_names = ["cat", "dog"]  # type: ignore[assignment]
    return module
