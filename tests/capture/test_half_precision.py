"""Passes in half precision: the classifier stays in float32, and weights are cast once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from camcli.capture import Forward, freeze
from camcli.capture.half_precision import cast_weights, find_classifier


def logits_of(output: Tensor) -> Tensor:
    return output


def forward_of(module: nn.Module, precision: str = "bf16") -> Forward:
    return Forward(module.eval(), logits_of, precision)


class TwoHeads(nn.Module):
    """Distilled: two heads with a norm each, averaged, and a norm of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.before, self.one, self.two = nn.LayerNorm(8), nn.Linear(8, 5), nn.Linear(8, 5)
        self.scale = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.body(x)
        scaled: Tensor = self.scale((self.one(tokens) + self.two(self.before(tokens))) / 2)
        return scaled


class TiedTwice(nn.Module):
    """One linear layer that runs twice: it is not the classifier alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.line = nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.line(self.line(self.body(x.mean((2, 3))[:, :1].expand(-1, 5))))
        return result


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (TwoHeads, ("one", "two")),
        (TiedTwice, ()),
        (lambda: torchvision.models.squeezenet1_1(), ("classifier.1",)),
        (lambda: timm.create_model("mobilenetv3_small_050"), ("classifier",)),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224"), ("head", "head_dist")),
        (lambda: timm.create_model("levit_128s"), ("head.linear", "head_dist.linear")),
    ],
)
def test_the_classifier_is_what_returns_the_logits(build: Callable[[], nn.Module], expected: tuple[str, ...]) -> None:
    module = build().eval()
    assert find_classifier(module, lambda: module(torch.zeros(1, 3, 224, 224))) == expected


def test_two_logits_that_half_precision_makes_equal_stay_apart() -> None:
    """1025 and 1026 are one number in bf16."""
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        module[2].weight.copy_(torch.tensor([[1025.0, 0, 0], [1026.0, 0, 0]]))
    inputs = torch.ones(1, 3, 4, 4)
    with freeze(module), torch.no_grad():
        rounded = forward_of(module)(inputs)
        logits = forward_of(module).with_classifier(inputs)(inputs)
    assert rounded[0, 0] == rounded[0, 1]
    assert logits.tolist() == [[1025.0, 1026.0]]
    assert logits.dtype == torch.float32


def test_float32_passes_are_as_they_were() -> None:
    module = TwoHeads().eval()
    forward = forward_of(module, "fp32")
    assert forward.with_classifier(torch.zeros(1, 3, 8, 8)) is forward
    assert forward.with_cast_weights(torch.zeros(1, 3, 8, 8)) is forward


class Standardised(nn.Conv2d):
    """Computes with its weight in float32 before it is cast."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Varied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.own = nn.Conv2d(3, 8, 3), Standardised(8, 8, 3)
        self.line, self.tied = nn.Linear(8, 8), nn.Linear(8, 8)
        self.tied.weight = self.line.weight
        self.free, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.own(self.stem(x).relu()).mean((2, 3))
        result: Tensor = self.head(self.free(self.tied(self.line(x)).relu()))
        return result


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_casting_once_changes_no_bit(precision: str) -> None:
    torch.manual_seed(0)
    module, inputs = Varied().eval(), torch.randn(3, 3, 12, 12)
    with freeze(module), torch.no_grad():
        plain = forward_of(module, precision).with_classifier(inputs)
        cast = plain.with_cast_weights(inputs)
        parameters = dict(module.named_parameters())
        assert torch.equal(plain(inputs), cast(inputs))
        assert all(p is parameters[name] and p.dtype == torch.float32 for name, p in module.named_parameters())
        assert cast.weights is not None
        # Not the first one, by which the type of the model is told, the standardised, the tied, the classifier.
        assert [part for part, _, _ in cast.weights.parts] == [module.free]
        seen: list[torch.dtype] = []
        with_hook = module.free.register_forward_hook(lambda m, i, o: seen.append(m.weight.dtype))
        cast(inputs)
        with_hook.remove()
        assert seen == [torch.bfloat16 if precision == "bf16" else torch.float16]


def test_weights_that_are_cast_to_other_numbers_are_left() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.line = nn.Linear(3, 6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            # Another part of the model computes with the weight in float32.
            y = self.line(self.stem(x.mean((2, 3))))
            bias: Tensor = (self.line.weight * 1.0009765625).sum()
            return y.float() + bias.float()

    torch.manual_seed(0)
    module, inputs = Doubled().eval(), torch.randn(2, 3, 4, 4)
    with freeze(module), torch.no_grad():
        assert cast_weights(module, torch.bfloat16, ()) is not None
        assert forward_of(module).with_cast_weights(inputs).weights is None


def test_a_pass_that_fails_leaves_the_weights() -> None:
    module = Varied().eval()
    inputs = torch.randn(1, 3, 12, 12)
    with freeze(module), torch.no_grad():
        cast = forward_of(module).with_cast_weights(inputs)
        own = module.free.weight
        with pytest.raises(RuntimeError):
            cast(torch.randn(1, 5, 12, 12))
    assert module.free.weight is own
