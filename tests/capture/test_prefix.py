"""The part before the layer as one graph gives what the module gives, and the rest of the pass looks the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camcli.capture import Forward, capture, freeze, trace_tail
from camcli.capture.prefix import CompiledPrefix, export_prefix, used_calls
from tests.capture.test_replay import built


def split(net: nn.Module, path: str, inputs: Tensor) -> Forward:
    forward = Forward(net, lambda output: output)
    tail = trace_tail(forward, path, inputs[:1].expand(3, *inputs.shape[1:]))
    assert tail.fallback is None
    return Forward(
        net, lambda output: output, prefix=CompiledPrefix(tail, inputs, export_prefix(forward, tail, inputs))
    )


def explained(forward: Forward, inputs: Tensor, path: str) -> list[Tensor]:
    captured = capture(forward, inputs, [path])
    return [captured.logits, captured.activations[path], captured.gradients(captured.logits[:, 1], [path])[path]]


@pytest.mark.parametrize(
    "family",
    [
        "resnet, inside a block", "efficientnet", "vit", "swin", "densenet", "squeezenet",
        pytest.param("hrnet", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_split_network_is_explained_like_the_whole(family: str) -> None:
    net, path, size = built(family)
    inputs = torch.randn(2, 3, size, size)
    with freeze(net):
        split_forward = split(net, path, inputs)
        for own, found in zip(
            explained(split_forward.eager, inputs, path), explained(split_forward, inputs, path), strict=True
        ):
            assert own.shape == found.shape
            assert float(own.detach().abs().max()) > 0
            torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-4 * float(own.detach().abs().max()))


class Counting(nn.Module):
    """A shortcut around the layer, in-place code behind it, and a count of what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.early = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.layer, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)
        self.runs = {"early": 0, "head": 0}
        for name in self.runs:
            part = getattr(self, name)
            part.forward = self._count_calls(name, part.forward)

    def _count_calls(self, name, run):
        def forward(x: Tensor) -> Tensor:
            self.runs[name] += 1
            return run(x)

        return forward

    def forward(self, x: Tensor) -> Tensor:
        before = self.early(self.stem(x))
        after = self.layer(before)
        after += before
        return self.head(after.relu_().mean((2, 3)))


def test_what_comes_before_runs_in_the_graph_alone() -> None:
    torch.manual_seed(0)
    net, inputs = Counting().eval(), torch.randn(2, 3, 8, 8)
    with freeze(net):
        split_forward = split(net, "layer", inputs)
        assert used_calls(split_forward.prefix.tail) == [("early", 0), ("layer", 0)]
        expected = explained(split_forward.eager, inputs, "layer")
        before = dict(net.runs)
        found = explained(split_forward, inputs, "layer")
        assert net.runs == {"early": before["early"], "head": before["head"] + 1}
        for own, now in zip(expected, found, strict=True):
            torch.testing.assert_close(now, own)


@pytest.mark.parametrize("kind", ["another batch size", "a gradient at the image"])
def test_other_inputs_run_as_always(kind: str) -> None:
    torch.manual_seed(0)
    net, inputs = Counting().eval(), torch.randn(2, 3, 8, 8)
    with freeze(net):
        split_forward = split(net, "layer", inputs)
        other = torch.randn(3, 3, 8, 8) if kind == "another batch size" else inputs.clone().requires_grad_()
        before = net.runs["early"]
        torch.testing.assert_close(split_forward(other), net(other))
        assert net.runs["early"] == before + 2


def test_the_module_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    net, inputs = Counting().eval(), torch.randn(2, 3, 8, 8)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = {name: sorted(part.__dict__) for name, part in net.named_modules()}
    with freeze(net):
        explained(split(net, "layer", inputs), inputs, "layer")
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in state.items())
    assert {name: sorted(part.__dict__) for name, part in net.named_modules()} == attributes
    assert not any(part._forward_hooks for part in net.modules())
