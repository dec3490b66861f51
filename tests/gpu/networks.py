"""Networks with random weights, the same every time: `factory:tests.gpu.networks:resnet`."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

SIZE = 96
"""Pixels a side of what they take."""


def resnet() -> nn.Module:
    """ResNet-18, its norms with statistics as training leaves them."""
    torch.manual_seed(0)
    net = resnet18(weights=None, num_classes=10)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(8, 3, SIZE, SIZE))
    return net.eval()


def vit() -> nn.Module:
    """ViT-Tiny, half as deep."""
    return _of_timm("vit_tiny_patch16_224", depth=6)


def swin() -> nn.Module:
    """A Swin Transformer half as wide and less deep than Swin-Tiny."""
    return _of_timm(
        "swin_tiny_patch4_window7_224", window_size=3, embed_dim=48, depths=(2, 2, 2, 2), num_heads=(2, 4, 8, 16)
    )


def _of_timm(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = timm.create_model(name, pretrained=False, img_size=SIZE, num_classes=10, **more)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Linear):  # 0.02 at the start, which makes all tokens and maps nearly equal
                part.weight.normal_(0, part.in_features**-0.5)
    return net.eval()


class IndexOfEarly(nn.Module):
    """An early output becomes an index behind the target layer, whose entries are all the same: it changes nothing.

    Not a number in its place is an index out of range, which on CUDA ends all work of the process on the device.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.early = nn.Conv2d(3, 4, 3, 2, 1)
        self.features = nn.Sequential(nn.Conv2d(4, 16, 3, 4, 1), nn.ReLU())
        self.head = nn.Linear(16, 10)
        self.register_buffer("table", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        features = self.features(early)
        row = (early.flatten(1).mean(1).sigmoid() * 3).long()
        return self.head(features.mean((2, 3))) * self.table[row][:, None]


class IndexOfUnused(IndexOfEarly):
    """The entry of the table is not used at all."""

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        features = self.features(early)
        _ = self.table[(early.flatten(1).mean(1).sigmoid() * 3).long()]
        return self.head(features.mean((2, 3)))


class RecurrentHead(nn.Module):
    """Reads the rows of its map with two layers of LSTM, whose backward pass cuDNN refuses in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, 4, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.rnn = nn.LSTM(16, 16, num_layers=2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.rnn(self.features(x).flatten(2).transpose(1, 2))[0][:, -1])
        return logits
