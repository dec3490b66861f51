"""What a loaded model records of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from camcli.errors import ModelError
from camcli.images import Preprocessing
from camcli.models import Model


class Net(nn.Module):
    def __init__(self, bias_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        weight, bias = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(2))
        for name in ("bias", "weight") if bias_first else ("weight", "bias"):
            self.register_parameter(name, weight if name == "weight" else bias)
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.register_buffer("flags", torch.tensor([True, False]))


def model(module: nn.Module) -> Model:
    return Model(module=module, preprocessing=Preprocessing(), name="net", source="factory", weights="w", num_classes=3)


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    first = model(Net()).weights_sha256
    assert first == model(Net()).weights_sha256 == model(Net(bias_first=True)).weights_sha256
    assert len(first) == 64

    def changed(change: str) -> str:
        module = Net()
        with torch.no_grad():
            if change == "value":
                module.weight[0, 0] += 1e-6
            elif change == "buffer":
                module.hidden += 1  # type: ignore[operator]
            elif change == "shape":
                module.weight = nn.Parameter(module.weight.reshape(3, 2))
            elif change == "type":
                module.weight = nn.Parameter(module.weight.double())
            elif change == "name":
                module.other = module._parameters.pop("weight")
        return model(module).weights_sha256

    hashes = {changed(c) for c in ("value", "buffer", "shape", "type", "name")}
    assert len(hashes | {first}) == 6


def test_the_hash_does_not_depend_on_memory_layout() -> None:
    conv = nn.Conv2d(3, 4, 3)
    before = model(conv).weights_sha256
    assert model(conv.to(memory_format=torch.channels_last)).weights_sha256 == before


def test_half_precision_weights_have_a_hash() -> None:
    assert model(Net().bfloat16()).weights_sha256 != model(Net().half()).weights_sha256


def test_logits_of_another_count_are_refused() -> None:
    with pytest.raises(ModelError, match="returns 4 logits per image where 3"):
        model(Net()).logits(torch.ones(2, 4))
    encoder = replace(model(Net()), num_classes=None)
    with pytest.raises(ModelError, match="encoder"):
        encoder.logits(torch.ones(2, 3))
