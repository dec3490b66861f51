"""One call of a module that runs several times in a pass: hooks, the cut graph, the replayed tail."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camcli.capture import Forward, capture, freeze, trace_tail
from camcli.capture.hooks import hook_calls, split_call
from tests.unusual import siamese

INPUTS = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("path", "parts"),
    [("encoder@2", ("encoder", 2)), ("encoder", ("encoder", None)), ("a.b@10", ("a.b", 10)), ("a@b", ("a@b", None))],
)
def test_paths_of_calls(path: str, parts: tuple[str, int | None]) -> None:
    assert split_call(path) == parts


def test_hooks_meet_their_call_in_every_pass() -> None:
    net = siamese().eval()
    seen: list[tuple[str, float]] = []
    outputs = [net.encoder(INPUTS), net.encoder(INPUTS * 0.5 - 0.2)]  # type: ignore[operator]
    with hook_calls(
        net, ["encoder@2", "encoder@1"], lambda path, output: seen.append((path, float(output.detach().sum())))
    ):
        net(INPUTS)
        net(INPUTS)
    one, two = ("encoder@1", float(outputs[0].detach().sum())), ("encoder@2", float(outputs[1].detach().sum()))
    assert seen == [one, two, one, two]


def test_what_replaces_one_call_leaves_the_other() -> None:
    net = siamese().eval()
    with hook_calls(net, ["encoder@2"], lambda _path, output: output * 0), torch.no_grad():
        changed = net(INPUTS)
    maps = net.encoder(INPUTS).mean((2, 3))  # type: ignore[operator]
    expected = net.head(torch.cat([maps, maps * 0], 1))  # type: ignore[operator]
    torch.testing.assert_close(changed, expected)


@pytest.mark.parametrize("call", [1, 2])
def test_the_gradient_is_that_of_one_call(call: int) -> None:
    net = siamese()
    with freeze(net):
        captured = capture(Forward(net, _same), INPUTS, [f"encoder@{call}"])
        gradient = captured.gradients(captured.logits[:, 0], [f"encoder@{call}"])[f"encoder@{call}"]
    weights = net.head.weight[0, 16 * (call - 1) : 16 * call]  # type: ignore[union-attr,index]
    torch.testing.assert_close(gradient, (weights / 64)[None, :, None, None].expand_as(gradient))


@pytest.mark.parametrize("call", [1, 2])
def test_the_tail_of_one_call_is_replayed(call: int) -> None:
    net, path = siamese(), f"encoder@{call}"
    with freeze(net), torch.no_grad():
        tail = trace_tail(Forward(net, _same), path, INPUTS)
        assert tail.fallback is None
        memo: dict = {}
        with tail.record(memo):
            net(INPUTS)
        runs: list[int] = []
        altered = tail.original(memo)[1:2].repeat(2, 1, 1, 1) * torch.tensor([0.0, 2.0])[:, None, None, None]
        counting = net.encoder.register_forward_hook(lambda *_: runs.append(1))  # type: ignore[union-attr]
        logits = tail.run(memo, INPUTS, altered, image=1)
        counting.remove()
        parts = [net.encoder(x).mean((2, 3)) for x in (INPUTS[1:2], INPUTS[1:2] * 0.5 - 0.2)]  # type: ignore[operator]
        parts = [part.repeat(2, 1) for part in parts]
        parts[call - 1] = altered.mean((2, 3))
        torch.testing.assert_close(logits, net.head(torch.cat(parts, 1)))  # type: ignore[operator]


def _same(output: Tensor) -> Tensor:
    assert isinstance(output, Tensor)
    assert not isinstance(output, nn.Parameter)
    return output
