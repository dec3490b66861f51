"""Small networks with random weights, and the attributes of a loaded model around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
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

    def link(self, mode: str) -> Any:
        auto = "sigmoid" if self.multi_label or self.num_classes == 1 else "softmax"
        return auto if mode == "auto" else mode


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
        net.head[-1].weight.data *= 10  # so that scores differ by more than their last digits
    return net.eval()


def noise(count: int, seed: int = 0, size: int = 16, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


class Pooled(nn.Module):
    """Convolutions, global average pooling and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.body = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.after = nn.Identity()
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.after(self.body(torch.relu(self.stem(x)))).mean((2, 3)))


class Block(nn.Module):
    """A transformer block with attention as a matrix product, fused, or from torch's own module."""

    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.kind, self.heads = kind, heads
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def attend(self, x: Tensor) -> Tensor:
        if self.kind == "multihead":
            return self.own(x, x, x, need_weights=False)[0]
        qkv = F.linear(x, self.own.in_proj_weight, self.own.in_proj_bias)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.kind == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return self.own.out_proj(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A vision transformer of three blocks with a class token, or read from the mean of its tokens."""

    def __init__(self, kind: str = "fused", class_token: bool = True, classes: int = 5) -> None:
        super().__init__()
        width = 16
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, int(class_token), width))
        self.position = nn.Parameter(torch.randn(1, 16 + int(class_token), width))
        self.blocks = nn.ModuleList([Block(width, 2, kind) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)
        self.class_token = class_token

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.class_token else x.mean(1))


def seeded(make: Any, seed: int = 0) -> nn.Module:
    """A module with the same weights for the same seed, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()


def tokens(path: str, prefix: int = 1) -> LayerAt:
    return LayerAt(path, Layout("tokens", (4, 4), prefix))


QUICK = ("rise.masks=30", "opticam.steps=3", "sscam.samples=2", "iscam.samples=2")
"""Options that keep the long methods short."""


def home(method: str) -> tuple[nn.Module, list[LayerAt]]:
    """A network that allows the method, and two of its layers."""
    if method == "cam":
        return seeded(Pooled), [nchw("body", (4, 4)), nchw("after", (4, 4))]
    if method in ("rollout", "chefer", "legrad"):
        return seeded(Transformer), [tokens("blocks.1"), tokens("blocks.2.norm1")]
    return random_net(), [nchw("body", (4, 4)), nchw("after", (4, 4))]


def quick(method: str) -> list[str]:
    return [option for option in QUICK if option.startswith(method + ".")]
