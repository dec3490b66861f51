"""Where a model leaves autograd's graph is named with the line of its own code."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from camcli.capture.detachment import find_detachments
from camcli.capture.frozen import evaluation_mode
from tests import unusual

IMAGE = torch.zeros(1, 3, 64, 64)


@pytest.mark.parametrize(
    ("kind", "what", "statement"),
    [
        (unusual.InferenceBlock, "torch.inference_mode", "with torch.inference_mode():"),
        (unusual.InferenceDecorator, "torch.inference_mode", "def forward(self, x: Tensor) -> Tensor:"),
        (unusual.NoGradDecorator, "torch.no_grad", "def forward(self, x: Tensor) -> Tensor:"),
        (unusual.DetachedHead, "Tensor.detach", "return super().score(maps.detach())"),
        (unusual.NumpyHead, "Tensor.numpy", "return super().score(torch.from_numpy(maps.numpy()))"),
    ],
)
def test_the_line_is_named(kind: type[nn.Module], what: str, statement: str) -> None:
    net = kind()
    with evaluation_mode(net):
        [one] = find_detachments(net, IMAGE)
    assert one.what == what
    assert one.place is not None
    assert one.place.statement == statement
    first = inspect.getsourcelines(kind)[1]
    assert one.place.file == unusual.__file__
    assert first < one.place.line < first + 8


def test_a_plain_network_has_none_and_nothing_stays_changed() -> None:
    before = (torch.no_grad.__enter__, torch.inference_mode.__exit__)
    assert find_detachments(unusual.Plain(), IMAGE) == []
    assert (torch.no_grad.__enter__, torch.inference_mode.__exit__) == before


def test_data_of_a_tensor_counts() -> None:
    class Data(unusual.Plain):
        def score(self, maps: Tensor) -> Tensor:
            return super().score(maps.data)

    net = Data()
    with evaluation_mode(net):
        [one] = find_detachments(net, IMAGE)
    assert one.what == "Tensor.data"
    assert one.place is not None
    assert one.place.file == __file__
