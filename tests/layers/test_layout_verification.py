"""Verification on constructed activation changes: what is verified, what is refuted, what stays open."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camcli.layers import Layout, parse_layout
from camcli.layers.activation_change import ActivationChange
from camcli.layers.candidate_layouts import CandidateLayout, competing_candidates, list_candidates
from camcli.layers.layout_verification import LayoutVerifier
from camcli.layers.perturb import perturb_image

SIDE = 224
BOXES = perturb_image(3, SIDE, SIDE).boxes


def _verifier(height: int = SIDE, width: int = SIDE) -> LayoutVerifier:
    return LayoutVerifier(perturb_image(1, height, width).boxes, (height, width))


def _tokens(
    candidate: CandidateLayout, reach: float, height: int = SIDE, width: int = SIDE, leak: float = 0.1
) -> ActivationChange:
    """Tokens that change as a layout says, plus a change everywhere, plus noise; prefix tokens change for any image."""
    boxes = perturb_image(1, height, width).boxes
    count = candidate.prefix + candidate.grid[0] * candidate.grid[1] + candidate.suffix
    change = leak + 0.02 * torch.rand(len(boxes) + 1, count, generator=torch.Generator().manual_seed(0))
    change[:-1, candidate.prefix : count - candidate.suffix] += candidate.expected(boxes, reach, shift=0.0)
    change[-1] += 1.0
    return ActivationChange((1, count, 8), {2: change})


@pytest.mark.parametrize("reach", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("grid", "prefix", "height", "width"),
    [
        ((14, 14), 1, 224, 224),
        ((14, 14), 0, 224, 224),
        ((14, 14), 5, 224, 224),
        ((16, 16), 4, 256, 256),
        ((7, 7), 2, 224, 224),
        ((4, 4), 1, 128, 128),
        ((14, 20), 1, 224, 320),
        ((20, 14), 0, 320, 224),
        ((12, 3), 1, 384, 96),
        ((37, 37), 5, 518, 518),
        ((56, 56), 1, 224, 224),
    ],
)
def test_tokens_are_verified_with_their_grid_and_prefix(
    grid: tuple[int, int], prefix: int, height: int, width: int, reach: float
) -> None:
    change = _tokens(CandidateLayout("tokens", grid, prefix), reach, height, width)
    result = _verifier(height, width).verify(change)
    assert (result.layout, result.proof) == (Layout("tokens", grid, prefix), "proven")


COMPETING = [c for prefix in (1, 5) for c in competing_candidates(CandidateLayout("tokens", (14, 14), prefix))]


@pytest.mark.parametrize("competing", COMPETING)
@pytest.mark.parametrize("reach", [0.5, 1.0])
def test_competing_candidates_are_named(competing: CandidateLayout, reach: float) -> None:
    result = _verifier().verify(_tokens(competing, reach))
    assert result.proof == "refuted"
    assert result.reason is not None
    assert str(competing) in result.reason


def _maps(axis_is_channels: int, field: Tensor, channels: int) -> ActivationChange:
    """A change of four dimensions with a given field over the other two axes, flat over the channels' axis."""
    images, rows, columns = field.shape
    if axis_is_channels == 1:
        return ActivationChange((1, channels, rows, columns), {1: field, 3: _flat(images, channels, rows)})
    return ActivationChange((1, rows, columns, channels), {3: field, 1: _flat(images, columns, channels)})


def _flat(*shape: int) -> Tensor:
    return 1.0 + 0.05 * torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("kind", "axis"), [("nchw", 1), ("nhwc", 3)])
@pytest.mark.parametrize("channels", [7, 14, 768])
def test_the_axis_of_the_channels_is_decided_by_the_change_not_by_size(kind: str, axis: int, channels: int) -> None:
    expected = CandidateLayout(kind, (14, 14)).expected(BOXES, 1.0, 0.5)  # type: ignore[arg-type]
    field = torch.cat([expected.unflatten(1, (14, 14)), torch.ones(1, 14, 14)])
    result = _verifier().verify(_maps(axis, field, channels))
    assert (result.layout, result.proof) == (Layout(kind, (14, 14)), "proven")  # type: ignore[arg-type]


def test_positions_that_change_for_any_image_do_not_hide_the_block() -> None:
    change = _tokens(CandidateLayout("tokens", (14, 14), 1), 0.5)
    sensitivity = 1 + 30 * torch.rand(197, generator=torch.Generator().manual_seed(2)) ** 8
    change.by_axis[2].mul_(sensitivity)
    assert _verifier().verify(change).proof == "proven"


def test_an_equal_change_everywhere_is_refuted() -> None:
    noise = torch.rand(5, 197, generator=torch.Generator().manual_seed(0))
    result = _verifier().verify(ActivationChange((1, 197, 8), {2: 1 + 0.01 * noise}))
    assert result.proof == "refuted"
    assert "changes elsewhere" in str(result.reason)


def test_what_does_not_change_is_refuted() -> None:
    result = _verifier().verify(ActivationChange((1, 196, 8), {2: torch.zeros(5, 196)}))
    assert (result.proof, result.reason) == ("refuted", "does not depend on the image")


def test_what_is_not_finite_is_unproven() -> None:
    change = torch.ones(5, 196)
    change[2, 3] = torch.nan
    assert _verifier().verify(ActivationChange((1, 196, 8), {2: change})).proof == "unproven"


def test_the_layout_flag_limits_the_candidates() -> None:
    change = _tokens(CandidateLayout("tokens", (14, 14), 1), 0.5)
    assert _verifier().verify(change, parse_layout("tokens:1")).proof == "proven"
    wrong = _verifier().verify(change, parse_layout("tokens:2:13x15"))
    assert (wrong.layout, wrong.proof) == (Layout("tokens", (13, 15), 2), "refuted")
    assert "changes like tokens 14x14 after 1 prefix tokens" in str(wrong.reason)


def test_a_shape_has_the_candidates_that_the_image_allows_and_no_others() -> None:
    assert [r.layout for r in list_candidates((1, 768, 7, 7), (224, 224))] == [Layout("nchw", (7, 7))]
    assert [r.layout for r in list_candidates((1, 7, 7, 768), (224, 224))] == [Layout("nhwc", (7, 7))]
    assert [r.layout for r in list_candidates((1, 7, 7, 7), (224, 224))] == [
        Layout("nchw", (7, 7)),
        Layout("nhwc", (7, 7)),
    ]
    tokens = {r.layout for r in list_candidates((1, 197, 192), (224, 224))}
    assert {Layout("tokens", (14, 14), 1), Layout("tokens", (13, 15), 2), Layout("tokens", (28, 7), 1)} <= tokens
    assert Layout("tokens", (1, 197)) not in tokens
    assert list_candidates((1, 512, 1, 1), (224, 224)) == []
    assert list_candidates((1, 1000), (224, 224)) == []
