"""However the movement is measured, held or at once, against the recorded pass or in the same batch, it is the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camcli.layers import Layout, resolve_layers
from camcli.layers.activation_change import HOLD, Movement, perturbed
from camcli.layers.layout import LayoutFlag
from camcli.layers.measurements import study
from camcli.layers.perturb import CENTRES, more, perturbation
from tests.layers.standin import standin


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip


def _measured(hold: int, known: bool) -> Movement:
    net, images = _net(), perturbation(3, 32, 32).images
    with torch.no_grad():
        still = {"1": net[1](net[0](images[:1])), "2": net[:3](images[:1])} if known else {}
    moved = perturbed(net, {"1": [1], "2": [1, 3]}, images, net, still, hold)["2"].movement()
    assert moved is not None
    return moved


@pytest.mark.parametrize(("hold", "known"), [(0, True), (HOLD, False), (0, False)])
def test_measured_in_any_way_it_is_the_same(hold: int, known: bool) -> None:
    one, other = _measured(HOLD, known=True), _measured(hold, known)
    assert one.shape == other.shape == (1, 8, 8, 8)
    assert one.by_axis.keys() == other.by_axis.keys()
    for axis, moved in one.by_axis.items():
        assert moved.shape == (len(CENTRES) + 1, 8, 8)
        assert torch.allclose(moved, other.by_axis[axis], atol=1e-5)


def test_large_images_go_through_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _measured(HOLD, known=True)
    monkeypatch.setattr("camcli.layers.activation_change._MANY_PIXELS", 2 * 32 * 32)
    parts = _measured(HOLD, known=True)
    assert all(torch.allclose(whole.by_axis[axis], parts.by_axis[axis], atol=1e-5) for axis in whole.by_axis)


class Overwriting(nn.Module):
    """Works in place behind its layer, but only where no gradient is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Any:
        maps = self.stage(x)
        maps = maps.relu() if torch.is_grad_enabled() else maps.zero_()
        return self.head(maps.mean((2, 3)))


def test_activations_overwritten_after_they_were_held_are_measured_again() -> None:
    torch.manual_seed(0)
    [layer] = resolve_layers(standin(Overwriting(), 32), ["stage"])
    assert (layer.layout, layer.proof) == (Layout("nchw", (8, 8)), "proven")


def test_a_doubt_is_settled_by_other_blocks_in_the_same_image() -> None:
    first = perturbation(3, 64, 64)
    second = more(first)
    assert torch.equal(first.images[0], second.images[0])
    assert len(second.images) == len(second.boxes) + 1
    assert not set(first.boxes) & set(second.boxes)
    with study(standin(_net(), 32), LayoutFlag()) as studied:
        assert studied.second.verdict("2", LayoutFlag()).proof == "proven"
        moved, before = studied.second.movement("2"), studied.evidence.movement("2")
        assert moved is not None
        assert before is not None
        assert torch.equal(moved.by_axis[1][-1], before.by_axis[1][-1])
