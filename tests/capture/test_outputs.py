from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch

from camcli.capture.outputs import main_tensor, with_main_tensor

MAP, VECTOR, IDS = torch.randn(2, 3, 4, 4), torch.randn(2, 3), torch.zeros(2, 5, 3, dtype=torch.long)


class Pair(NamedTuple):
    vector: torch.Tensor
    map: torch.Tensor


@pytest.mark.parametrize(
    "output",
    [
        MAP,
        (MAP, VECTOR),
        [VECTOR, MAP],
        {"vector": VECTOR, "map": MAP},
        (IDS, {"map": [None, MAP]}),
        OrderedDict(a=VECTOR, b=MAP),
        Pair(VECTOR, MAP),
    ],
)
def test_the_activation_is_found_and_replaced_in_any_structure(output: Any) -> None:
    assert main_tensor(output) is MAP
    other = torch.zeros_like(MAP)
    replaced = with_main_tensor(output, other)
    assert type(replaced) is type(output)
    assert main_tensor(replaced) is other
    assert main_tensor(output) is MAP


def test_without_maps_the_first_floating_tensor_is_meant() -> None:
    assert main_tensor((IDS, VECTOR)) is VECTOR


@pytest.mark.parametrize("output", [None, "text", 3, (), {"a": None}, IDS])
def test_no_activation_is_none(output: Any) -> None:
    assert main_tensor(output) is None
    with pytest.raises(TypeError, match="no tensor"):
        with_main_tensor(output, MAP)
