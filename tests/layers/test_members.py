"""A layer in one member of an ensemble is said to show only that member."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camcli
from camcli.layers import resolve_layers
from tests.tiny import build


class Average(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(build() for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


class Streams(nn.Module):
    """Two networks of different kinds, one of which sees another image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = build()
        self.second: Any = build().features
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.first(x / 2) + self.head(self.second(x.flip(1)).mean((2, 3)))
        return logits


class Adapted(nn.Module):
    """One network behind another that returns an image: nothing is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.network = build()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.adapter(x))
        return logits


def assumptions(module: nn.Module) -> list[str]:
    model = camcli.load_model(module, input_size=64)
    with model.prepared():
        return [layer.assumption for layer in resolve_layers(model, ["auto"]) if layer.assumption is not None]


@pytest.mark.parametrize("count", [2, 3])
def test_the_member_and_the_others_are_named(count: int) -> None:
    (line,) = assumptions(Average(count))
    assert f"one of {count} networks that take the image" in line
    named = {f"members.{i}" for i in range(count) if f"members.{i}" in line}
    assert named == {f"members.{i}" for i in range(count)}


def test_streams_of_different_kinds_count() -> None:
    (line,) = assumptions(Streams())
    assert "lies in second, one of 2 networks" in line
    assert "nothing of first" in line


@pytest.mark.parametrize("module", [build(), Adapted(), nn.Sequential(nn.Sequential(build()))])
def test_one_network_is_no_ensemble(module: nn.Module) -> None:
    assert assumptions(module) == []
