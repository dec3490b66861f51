"""The proof on movements made up for the purpose: what must hold, what must not, what must stay open."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camcli.layers import Layout, parse_layout
from camcli.layers.activation_change import Movement
from camcli.layers.candidates import Reading, readings, rivals
from camcli.layers.perturb import perturbation
from camcli.layers.verification import Prover

SIDE = 224
BOXES = perturbation(3, SIDE, SIDE).boxes


def _prover(height: int = SIDE, width: int = SIDE) -> Prover:
    return Prover(perturbation(1, height, width).boxes, (height, width))


def _tokens(reading: Reading, reach: float, height: int = SIDE, width: int = SIDE, leak: float = 0.1) -> Movement:
    """Tokens that move as a layout says, plus what moves everywhere, plus noise; prefix tokens move for anything."""
    boxes = perturbation(1, height, width).boxes
    count = reading.prefix + reading.grid[0] * reading.grid[1] + reading.suffix
    moved = leak + 0.02 * torch.rand(len(boxes) + 1, count, generator=torch.Generator().manual_seed(0))
    moved[:-1, reading.prefix : count - reading.suffix] += reading.expected(boxes, reach, shift=0.0)
    moved[-1] += 1.0
    return Movement((1, count, 8), {2: moved})


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
def test_tokens_are_proven_with_their_grid_and_prefix(
    grid: tuple[int, int], prefix: int, height: int, width: int, reach: float
) -> None:
    movement = _tokens(Reading("tokens", grid, prefix), reach, height, width)
    verdict = _prover(height, width).verdict(movement)
    assert (verdict.layout, verdict.proof) == (Layout("tokens", grid, prefix), "proven")


@pytest.mark.parametrize("rival", [rival for prefix in (1, 5) for rival in rivals(Reading("tokens", (14, 14), prefix))])
@pytest.mark.parametrize("reach", [0.5, 1.0])
def test_rivals_are_refuted_by_name(rival: Reading, reach: float) -> None:
    verdict = _prover().verdict(_tokens(rival, reach))
    assert verdict.proof == "refuted"
    assert verdict.reason is not None
    assert str(rival) in verdict.reason


def _maps(axis_is_channels: int, field: Tensor, channels: int) -> Movement:
    """A movement of four dimensions whose field over the other two axes is known, flat over the channels' axis."""
    images, rows, columns = field.shape
    if axis_is_channels == 1:
        return Movement((1, channels, rows, columns), {1: field, 3: _flat(images, channels, rows)})
    return Movement((1, rows, columns, channels), {3: field, 1: _flat(images, columns, channels)})


def _flat(*shape: int) -> Tensor:
    return 1.0 + 0.05 * torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("kind", "axis"), [("nchw", 1), ("nhwc", 3)])
@pytest.mark.parametrize("channels", [7, 14, 768])
def test_the_axis_of_the_channels_is_told_by_movement_not_by_size(kind: str, axis: int, channels: int) -> None:
    expected = Reading(kind, (14, 14)).expected(BOXES, 1.0, 0.5)  # type: ignore[arg-type]
    field = torch.cat([expected.unflatten(1, (14, 14)), torch.ones(1, 14, 14)])
    verdict = _prover().verdict(_maps(axis, field, channels))
    assert (verdict.layout, verdict.proof) == (Layout(kind, (14, 14)), "proven")  # type: ignore[arg-type]


def test_positions_that_move_for_anything_do_not_hide_the_block() -> None:
    movement = _tokens(Reading("tokens", (14, 14), 1), 0.5)
    restless = 1 + 30 * torch.rand(197, generator=torch.Generator().manual_seed(2)) ** 8
    movement.by_axis[2].mul_(restless)
    assert _prover().verdict(movement).proof == "proven"


def test_what_moves_everywhere_alike_is_refuted() -> None:
    noise = torch.rand(5, 197, generator=torch.Generator().manual_seed(0))
    verdict = _prover().verdict(Movement((1, 197, 8), {2: 1 + 0.01 * noise}))
    assert verdict.proof == "refuted"
    assert "moves elsewhere" in str(verdict.reason)


def test_what_does_not_move_is_refuted() -> None:
    verdict = _prover().verdict(Movement((1, 196, 8), {2: torch.zeros(5, 196)}))
    assert (verdict.proof, verdict.reason) == ("refuted", "does not depend on the image")


def test_what_is_not_finite_is_unproven() -> None:
    moved = torch.ones(5, 196)
    moved[2, 3] = torch.nan
    assert _prover().verdict(Movement((1, 196, 8), {2: moved})).proof == "unproven"


def test_the_users_word_narrows_what_is_considered() -> None:
    movement = _tokens(Reading("tokens", (14, 14), 1), 0.5)
    assert _prover().verdict(movement, parse_layout("tokens:1")).proof == "proven"
    wrong = _prover().verdict(movement, parse_layout("tokens:2:13x15"))
    assert (wrong.layout, wrong.proof) == (Layout("tokens", (13, 15), 2), "refuted")
    assert "moves like tokens 14x14 after 1 prefix tokens" in str(wrong.reason)


def test_shapes_are_read_in_every_way_the_image_allows_and_no_other() -> None:
    assert [r.layout for r in readings((1, 768, 7, 7), (224, 224))] == [Layout("nchw", (7, 7))]
    assert [r.layout for r in readings((1, 7, 7, 768), (224, 224))] == [Layout("nhwc", (7, 7))]
    assert [r.layout for r in readings((1, 7, 7, 7), (224, 224))] == [Layout("nchw", (7, 7)), Layout("nhwc", (7, 7))]
    tokens = {r.layout for r in readings((1, 197, 192), (224, 224))}
    assert {Layout("tokens", (14, 14), 1), Layout("tokens", (13, 15), 2), Layout("tokens", (28, 7), 1)} <= tokens
    assert Layout("tokens", (1, 197)) not in tokens
    assert readings((1, 512, 1, 1), (224, 224)) == []
    assert readings((1, 1000), (224, 224)) == []
