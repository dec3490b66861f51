"""Networks whose output depends on more than the image, named as `factory:tests.models.unsteady:NAME`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tiny import build


class Unsteady(nn.Module):
    """The tiny network with something between its features and its head."""

    def __init__(self, between: Callable[[Unsteady, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner: Any = build()
        self.between = between
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))
        self.calls = itertools.count()
        self.generator = torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner.head(self.between(self, self.inner.features(x)).mean((2, 3)))
        return logits


def follow(net: Unsteady, features: Tensor) -> Tensor:
    net.mean.mul_(0.9).add_(features.detach().mean(), alpha=0.1)
    return features * (1 + net.mean)


def steady() -> nn.Module:
    return Unsteady(lambda net, features: features)


def dropout() -> nn.Module:
    return Unsteady(lambda net, features: F.dropout(features, 0.5, training=True))


def dropped_paths() -> nn.Module:
    """Without what leads to the score, in half of all passes."""
    return Unsteady(lambda net, features: features * torch.bernoulli(torch.full((len(features), 1, 1, 1), 0.5)))


def numpy_noise() -> nn.Module:
    return Unsteady(lambda net, features: features * float(np.random.rand() + 0.5))


def stochastic_depth() -> nn.Module:
    return Unsteady(lambda net, features: features if random.random() < 0.5 else features * 2)


def running_mean() -> nn.Module:
    return Unsteady(follow)


def counter() -> nn.Module:
    return Unsteady(lambda net, features: features * (1 + next(net.calls)))


def own_generator() -> nn.Module:
    return Unsteady(lambda net, features: features * (1 + torch.rand(features.shape, generator=net.generator)))


def batch_statistics() -> nn.Module:
    net = Unsteady(lambda net, features: features)
    for i in (1, 4, 7):
        net.inner.features[i] = nn.BatchNorm2d(net.inner.features[i].num_features, track_running_stats=False)
    return net


def random_crop() -> tuple[nn.Module, Callable[[Any], Tensor]]:
    def transform(image: Any) -> Tensor:
        left = int(torch.randint(image.width - 64, ()))
        pixels = np.asarray(image.crop((left, 0, left + 64, 64)), np.float32)
        return torch.from_numpy(pixels / 255).permute(2, 0, 1)

    return build(), transform
