"""Small networks with random weights, and the attributes of a loaded model around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from camcli.layers.layout import Layout


@dataclass(frozen=True)
class StandIn:
    """What the methods need of a loaded model."""

    module: nn.Module
    multi_label: bool = False
    size: int = 16
    channels: int = 3
    num_classes: int | None = 5
    preprocessing: Any = field(init=False)

    def __post_init__(self) -> None:
        shape = SimpleNamespace(
            channels=self.channels, height=self.size, width=self.size, mean=(0.5,) * 3, std=(0.25,) * 3
        )
        object.__setattr__(self, "preprocessing", shape)

    def logits(self, output: Any) -> Tensor:
        return output["logits"] if isinstance(output, dict) else output


@dataclass(frozen=True)
class LayerAt:
    path: str
    layout: Layout


def nchw(path: str, grid: tuple[int, int]) -> LayerAt:
    return LayerAt(path, Layout("nchw", grid))


class Net(nn.Module):
    """Convolutions, batch-norm, an in-place ReLU, pooling and a two-layer head that is not linear."""

    def __init__(self, *, smooth: bool = False, classes: int = 5) -> None:
        super().__init__()
        act = nn.GELU() if smooth else nn.ReLU(inplace=True)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.body = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.act = act
        self.after = nn.Conv2d(8, 7, 3, padding=1)
        pooling = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Sequential(pooling, nn.Linear(28, 12), nn.Tanh(), nn.Linear(12, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.after(self.act(self.body(self.stem(x))))))


def random_net(seed: int = 0, **keywords: Any) -> Net:
    """The same weights for the same seed; batch-norm statistics that are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Net(**keywords)
        norm = net.stem[1]
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2)
    return net.eval()


def noise(count: int, seed: int = 0, size: int = 16, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
