"""Which outputs before a layer the tail uses: found by NaN on a CPU, and without on what NaN would bring down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from camcli.capture import Forward, freeze, trace, trace_tail
from camcli.capture.dependence import find_sources
from camcli.capture.replay import Spec, Tail
from tests.capture.test_replay import built
from tests.methods.networks import noise


def conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


class Parts(nn.Module):
    """Three outputs before the layer ``layer``; what is done with them is for those who inherit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.layer = conv(3, 4), conv(4, 4), conv(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        early = self.first(x)
        late = self.second(early)
        return self.head(self.combine(self.layer(late), early, late).mean((2, 3)))

    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y


class Skip(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y + early


def as_index(y: Tensor, values: Tensor) -> Tensor:
    """Rows in an order that the values decide; out of range for other values than those of an image."""
    rows = values.mean((1, 2, 3)).sigmoid() * y.shape[2]
    return y[torch.arange(len(y))[:, None], :, rows.long()[:, None]]


class Index(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y + as_index(y, early).movedim(1, 2)


class DroppedIndex(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        as_index(y, early)
        return y


class ThroughNumPy(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y + torch.from_numpy(np.tanh(early.numpy()))


class Condition(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y if float(early.mean()) < 100 else -y


class Mask(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y * (y[early > 0].shape[0] > 0)


class InPlace(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        room = torch.zeros_like(late)
        room[:, :2].add_(early[:, 2:])
        return y + room


class ShapeAlone(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        return y + torch.ones_like(early) + early.new_zeros(late.shape)


class UNet(Parts):
    def combine(self, y: Tensor, early: Tensor, late: Tensor) -> Tensor:
        small = torch.nn.functional.max_pool2d(torch.cat([early, late], 1), 2)
        return y + torch.nn.functional.interpolate(small, scale_factor=2.0)[:, 2:6]


BOTH, ALL = {"layer", "first"}, {"layer", "first", "second"}
OWN: dict[type[Parts], set[str]] = {
    Parts: {"layer"}, Skip: BOTH, Index: BOTH, DroppedIndex: {"layer"}, ThroughNumPy: ALL, Condition: BOTH,
    Mask: BOTH, InPlace: BOTH, ShapeAlone: {"layer"}, UNet: ALL,
}  # fmt: skip


@pytest.fixture
def without_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator."""
    for module in ("trace", "replay"):
        monkeypatch.setattr(f"camcli.capture.{module}.may_hold_nan", lambda device: False)


def tail_of(net: nn.Module, path: str, size: int = 32) -> Tail:
    with freeze(net):
        tail = trace_tail(Forward(net, lambda out: out), path, noise(3, size=size))
    assert tail.fallback is None
    return tail


@pytest.mark.usefixtures("without_nan")
@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_used_outputs_are_found_without_nan(kind: type[Parts], monkeypatch: pytest.MonkeyPatch) -> None:
    net, taken = kind().eval(), []

    def watch(y: Tensor, values: Tensor) -> Tensor:
        taken.append(values)  # looked at later: to look at them here would be to use them
        return true(y, values)

    true = as_index
    monkeypatch.setattr(f"{__name__}.as_index", watch)
    tail = tail_of(net, "layer")
    assert {path for path, _ in tail.used} == OWN[kind]
    inputs, memo = noise(2, size=32), {}
    with freeze(net), torch.no_grad():
        with tail.record(memo):
            expected = net(inputs)
        rows = tail.original(memo)[1:].repeat(3, 1, 1, 1)
        assert torch.allclose(tail.run(memo, inputs, rows, 1), expected[1].expand(3, -1), atol=1e-5)
    assert all(bool(values.isfinite().all()) for values in taken)


@pytest.mark.parametrize("kind", [Parts, Skip, Index, DroppedIndex, ThroughNumPy, Mask, InPlace, ShapeAlone, UNet])
def test_on_a_cpu_nan_finds_them(kind: type[Parts]) -> None:
    """Out of range, an index is an error there, and its output counts as used even where the result is dropped."""
    expected = BOTH if kind in (DroppedIndex, ThroughNumPy) else OWN[kind]
    assert {path for path, _ in tail_of(kind().eval(), "layer").used} == expected


@pytest.mark.parametrize("family", ["resnet, inside a block", "densenet", "vit", "swin", "eva", "squeezenet"])
def test_both_ways_agree_on_many_families(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path, size = built(family)
    by_nan = tail_of(net, path, size)
    for module in ("trace", "replay"):
        monkeypatch.setattr(f"camcli.capture.{module}.may_hold_nan", lambda device: False)
    assert tail_of(net, path, size).used == by_nan.used


@pytest.mark.usefixtures("without_nan")
def test_what_cannot_be_followed_counts_as_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> set[Any]:
        raise NotImplementedError("a tensor without memory")

    monkeypatch.setattr(trace, "find_sources", failing)
    assert {path for path, _ in tail_of(Parts().eval(), "layer").used} == {"layer", "first", "second"}


def test_a_placeholder_is_nan_on_a_cpu_alone() -> None:
    spec = Spec((1, 3), 0, 1, torch.float32)
    assert spec.placeholder(2, torch.device("cpu")).isnan().all()
    placeholder = spec.placeholder(2, torch.device("meta"))
    assert placeholder.shape == (2, 3)


@pytest.mark.usefixtures("without_nan")
def test_a_placeholder_is_zero_elsewhere() -> None:
    placeholder = Spec((1, 3), 0, 1, torch.float32).placeholder(2, torch.device("cpu"))
    assert torch.equal(placeholder, torch.zeros(2, 3))


def test_sources_of_an_ordinary_block() -> None:
    torch.manual_seed(0)
    block = torchvision.models.resnet18().layer2[0].eval()
    a, b, c = torch.randn(1, 64, 8, 8), torch.randn(1, 64, 8, 8), torch.randn(64)
    with torch.no_grad():
        assert find_sources({"a": a, "b": [b, 3], "c": c}, lambda: block(a) + 0 * block(torch.zeros_like(b))) == {"a"}
        assert find_sources({"a": a, "b": b, "c": c}, lambda: torch.add(a, 1, out=b) * 2) == {"a", "b"}
