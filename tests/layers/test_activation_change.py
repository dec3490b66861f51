"""The change is the same however it is measured: later or at once, against the recorded pass or in the same batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camcli.layers import Layout, resolve_layers
from camcli.layers.activation_change import KEEP_BYTES, ActivationChange, record_changes
from camcli.layers.layout import LayoutFlag
from camcli.layers.measurements import measure_layers
from camcli.layers.perturb import CENTRES, perturb_elsewhere, perturb_image
from tests.layers.standin import standin


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip


def _measure(keep_bytes: int, recorded: bool) -> ActivationChange:
    net, images = _net(), perturb_image(3, 32, 32).images
    with torch.no_grad():
        reference = {"1": net[1](net[0](images[:1])), "2": net[:3](images[:1])} if recorded else {}
    change = record_changes(net, {"1": [1], "2": [1, 3]}, images, net, reference, keep_bytes)["2"].measure()
    assert change is not None
    return change


@pytest.mark.parametrize(("keep_bytes", "recorded"), [(0, True), (KEEP_BYTES, False), (0, False)])
def test_measured_in_any_way_it_is_the_same(keep_bytes: int, recorded: bool) -> None:
    one, other = _measure(KEEP_BYTES, recorded=True), _measure(keep_bytes, recorded)
    assert one.shape == other.shape == (1, 8, 8, 8)
    assert one.by_axis.keys() == other.by_axis.keys()
    for axis, change in one.by_axis.items():
        assert change.shape == (len(CENTRES) + 1, 8, 8)
        assert torch.allclose(change, other.by_axis[axis], atol=1e-5)


def test_large_images_go_through_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _measure(KEEP_BYTES, recorded=True)
    monkeypatch.setattr("camcli.layers.activation_change._MANY_PIXELS", 2 * 32 * 32)
    parts = _measure(KEEP_BYTES, recorded=True)
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


def test_activations_overwritten_before_they_were_measured_are_computed_again() -> None:
    torch.manual_seed(0)
    [layer] = resolve_layers(standin(Overwriting(), 32), ["stage"])
    assert (layer.layout, layer.proof) == (Layout("nchw", (8, 8)), "proven")


def test_other_blocks_in_the_same_image_are_a_second_verification() -> None:
    first = perturb_image(3, 64, 64)
    second = perturb_elsewhere(first)
    assert torch.equal(first.images[0], second.images[0])
    assert len(second.images) == len(second.boxes) + 1
    assert not set(first.boxes) & set(second.boxes)
    with measure_layers(standin(_net(), 32), LayoutFlag()) as measurements:
        assert measurements.second.verify("2", LayoutFlag()).proof == "proven"
        change, before = measurements.second.change("2"), measurements.evidence.change("2")
        assert change is not None
        assert before is not None
        assert torch.equal(change.by_axis[1][-1], before.by_axis[1][-1])
