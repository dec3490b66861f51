from __future__ import annotations

import pytest
import torch

from camcli.errors import LayerError
from camcli.layers import Layout, parse_layout
from camcli.layers.layout import LayoutFlag

CASES = [
    (Layout("nchw", (3, 5)), (2, 7, 3, 5)),
    (Layout("nhwc", (3, 5)), (2, 3, 5, 7)),
    (Layout("tokens", (3, 5)), (2, 15, 7)),
    (Layout("tokens", (3, 5), 4), (2, 19, 7)),
]


@pytest.mark.parametrize(("layout", "shape"), CASES)
def test_maps_and_back_is_the_identity(layout: Layout, shape: tuple[int, ...]) -> None:
    activation = torch.randn(shape)
    maps = layout.to_maps(activation)
    assert maps.shape == (2, 7, 3, 5)
    assert layout.channels(tuple(activation.shape)) == 7
    assert torch.equal(layout.from_maps(maps, activation), activation)


def test_tokens_are_read_row_by_row_after_the_prefix() -> None:
    tokens = torch.arange(8.0).reshape(1, 8, 1)
    assert Layout("tokens", (2, 3), 2).to_maps(tokens)[0, 0].tolist() == [[2, 3, 4], [5, 6, 7]]


def test_one_activation_gives_the_prefix_for_many_maps() -> None:
    like = torch.randn(1, 7, 4)
    layout = Layout("tokens", (2, 3), 1)
    tokens = layout.from_maps(torch.zeros(5, 4, 2, 3), like)
    assert tokens.shape == (5, 7, 4)
    assert torch.equal(tokens[:, 0], like[:, 0].expand(5, -1))


def test_gradients_pass_both_ways() -> None:
    activation = torch.randn(1, 7, 4, requires_grad=True)
    layout = Layout("tokens", (2, 3), 1)
    layout.from_maps(2 * layout.to_maps(activation), activation).sum().backward()
    assert activation.grad is not None
    assert activation.grad[0, :, 0].tolist() == [1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(("layout", "shape"), CASES)
def test_another_shape_is_an_error_not_a_guess(layout: Layout, shape: tuple[int, ...]) -> None:
    with pytest.raises(LayerError, match="is not"):
        layout.to_maps(torch.zeros(*shape[:-1], shape[-1] + 1, 2) if len(shape) == 3 else torch.zeros(2, 4, 4, 4))


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("auto", LayoutFlag()),
        ("nchw", LayoutFlag("nchw")),
        ("NHWC", LayoutFlag("nhwc")),
        ("tokens", LayoutFlag("tokens")),
        ("tokens:1", LayoutFlag("tokens", 1)),
        ("tokens:5:14x20", LayoutFlag("tokens", 5, (14, 20))),
    ],
)
def test_the_flag_is_parsed(text: str, flag: LayoutFlag) -> None:
    assert parse_layout(text) == flag


@pytest.mark.parametrize("text", ["", "nwhc", "tokens:", "tokens:a", "tokens:1:14", "tokens:1:0x4", "nchw:1"])
def test_what_is_no_layout_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LayerError, match="--layout"):
        parse_layout(text)
