"""A tuned model gives the outputs it gave before, and is afterwards bit for bit as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camcli.models import load_model
from camcli.speed import tune
from camcli.speed.tuning import SLOWER, TOLERANCE


def lived_in(module: nn.Module) -> nn.Module:
    """Norms with statistics and weights as after training, so that folding has something to get wrong."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            if part.affine:
                part.weight.data.uniform_(0.5, 1.5, generator=generator)
                part.bias.data.normal_(generator=generator)
    return module.eval().requires_grad_(False)


def as_model(module: nn.Module, size: int = 16) -> Any:
    shape = SimpleNamespace(channels=3, height=size, width=size)
    return SimpleNamespace(module=lived_in(module), preprocessing=shape, device=torch.device("cpu"), weights_sha256="")


class Block(nn.Module):
    """Convolution and norm, put together by a function of the test."""

    def __init__(self, join: Callable[[Block, Tensor], Tensor], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4) if norm is None else norm
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, self.stem(x)).mean((2, 3))


def chained(block: Block, x: Tensor) -> Tensor:
    after: Tensor = block.norm(block.conv(x))
    return after.sigmoid()


def used_beside(block: Block, x: Tensor) -> Tensor:
    between = block.conv(x)
    after: Tensor = block.norm(between)
    return after + 1e-7 * between


def run_twice(block: Block, x: Tensor) -> Tensor:
    after: Tensor = block.norm(block.conv(block.norm(block.conv(x))))
    return after


def changed_between(block: Block, x: Tensor) -> Tensor:
    after: Tensor = block.norm(block.conv(x) + 1)
    return after


def written_between(block: Block, x: Tensor) -> Tensor:
    between = block.conv(x)
    between += 1
    after: Tensor = block.norm(between)
    return after


NORMS = {
    "plain": lambda: nn.BatchNorm2d(4),
    "no affine": lambda: nn.BatchNorm2d(4, affine=False),
    "another epsilon": lambda: nn.BatchNorm2d(4, eps=0.1),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_folding_changes_no_output(norm: str, bias: bool) -> None:
    block = Block(chained, NORMS[norm]())
    block.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=bias)
    model, images = as_model(block), torch.randn(3, 3, 16, 16)
    expected = model.module(images)
    with tune(model) as tuning:
        assert (tuning.folded, tuning.channels_last, tuning.notes) == (1, True, ())
        found = model.module(tuning.arrange(images))
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max()))
    assert float(expected.std()) > 1e-3  # there was something to compare


@pytest.mark.parametrize("join", [used_beside, run_twice, changed_between, written_between])
def test_a_convolution_that_feeds_more_than_its_norm_is_left(join: Callable[[Block, Tensor], Tensor]) -> None:
    model = as_model(Block(join))
    with tune(model) as tuning:
        assert tuning.folded == 0


@pytest.mark.parametrize("watched", [["conv"], ["norm"], ["inner"]])
def test_a_layer_that_is_looked_at_is_left(watched: Sequence[str]) -> None:
    block = Block(lambda own, x: own.norm(own.inner(x)))
    block.inner = nn.Sequential(block.conv)  # hands on what its convolution returns
    with tune(as_model(block), watched) as tuning:
        assert tuning.folded == 0
    with tune(as_model(block), ["stem"]) as tuning:
        assert tuning.folded == 1


def test_modules_with_hooks_are_left() -> None:
    block = Block(chained)
    block.conv.register_forward_hook(lambda module, args, output: None)
    with tune(as_model(block)) as tuning:
        assert tuning.folded == 0


def test_shared_weights_are_left() -> None:
    block = Block(chained)
    block.twin = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    block.twin.weight = block.conv.weight
    with tune(as_model(block)) as tuning:
        assert tuning.folded == 0


def test_no_folding_where_parameters_are_read() -> None:
    with tune(as_model(Block(chained)), folding=False) as tuning:
        assert (tuning.folded, tuning.channels_last) == (0, True)


class Scaled(nn.Conv2d):
    """A convolution that normalises its weight, so that scaling the weight does nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight / self.weight.norm(), None, padding=1)


def test_what_cannot_be_folded_runs_as_it_was_given() -> None:
    block = Block(chained)
    block.conv = Scaled(4, 4, 3, bias=False)
    model, images = as_model(block), torch.randn(2, 3, 16, 16)
    expected = model.module(images)
    with tune(model) as tuning:
        assert (tuning.folded, tuning.channels_last) == (0, True)
        torch.testing.assert_close(model.module(tuning.arrange(images)), expected)


def test_a_model_that_views_its_memory_gets_it_plain() -> None:
    block = Block(lambda own, x: chained(own, x).view(len(x), -1)[:, :, None, None])
    model, images = as_model(block), torch.randn(2, 3, 16, 16)
    expected = model.module(images)
    with tune(model) as tuning:
        assert tuning.notes == (SLOWER,)
        found = model.module(tuning.arrange(images.contiguous(memory_format=torch.channels_last)))
    torch.testing.assert_close(found, expected)


def test_the_module_is_left_bit_for_bit_also_after_an_error() -> None:
    model, images = as_model(Block(chained)), torch.randn(2, 3, 16, 16)
    state = {name: value.clone() for name, value in model.module.state_dict().items()}
    strides = {name: value.stride() for name, value in model.module.state_dict().items()}
    parameters = dict(model.module.named_parameters())
    expected = model.module(images)
    with pytest.raises(KeyboardInterrupt), tune(model):
        raise KeyboardInterrupt
    after = model.module.state_dict()
    assert after.keys() == state.keys()
    assert all(torch.equal(after[name], value) for name, value in state.items())
    assert {name: value.stride() for name, value in after.items()} == strides
    assert all(parameters[name] is value for name, value in model.module.named_parameters())
    assert not any("forward" in vars(part) for part in model.module.modules())
    assert torch.equal(model.module(images), expected)


def test_the_built_in_model_keeps_its_layer_and_its_logits() -> None:
    model = load_model("builtin", device=torch.device("cpu"))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    seen: list[Tensor] = []
    with model.prepared() as module, torch.no_grad():
        hook = module.get_submodule("bn2").register_forward_hook(lambda m, a, output: seen.append(output.clone()))
        seen.append(module(images))
        hook.remove()
        with tune(model, ["bn2"]) as tuning:
            hook = module.get_submodule("bn2").register_forward_hook(lambda m, a, output: seen.append(output.clone()))
            seen.append(module(tuning.arrange(images)))
            hook.remove()
    assert tuning.folded == 48  # all but the layer's own
    for expected, found in zip(seen[:2], seen[2:], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max()))
