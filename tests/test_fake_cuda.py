"""The made-up CUDA device behaves as a real one where the other tests rely on it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from tests.fake_cuda import CUDA, MPS, FakeDevice, fake_cuda, fake_mps


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    with fake_cuda() as device:
        yield device


def counted(device: FakeDevice, work: Callable[[], object]) -> tuple[int, int, int]:
    """Synchronisations, copies to the device and copies to the host."""
    device.traffic.events.clear()
    work()
    return tuple(device.traffic.count(kind) for kind in ("wait", "to device", "to host"))  # type: ignore[return-value]


def test_numbers_and_gradients_are_those_of_the_cpu(device: FakeDevice) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval(), torch.randn(2, 3, 8, 8)
    expected = net(x)
    expected.square().sum().backward()
    there = copy.deepcopy(net).to("cuda")
    there.zero_grad()
    output = there(x.cuda())
    output.square().sum().backward()
    assert {p.device for p in there.parameters()} == {output.device} == {CUDA}
    assert isinstance(there[0].weight, nn.Parameter)
    assert torch.equal(output.cpu(), expected)
    assert there[0].weight.grad is not None
    assert torch.equal(there[0].weight.grad.cpu(), net[0].weight.grad)
    assert {p.device.type for p in there.to("cpu").parameters()} == {"cpu"}


@pytest.mark.parametrize(
    "work",
    [
        lambda x, y: x + y, lambda x, y: y * x, lambda x, y: torch.cat([x, y]), lambda x, y: x @ y.T,
        lambda x, y: x.add_(y), lambda x, y: y.add_(x), lambda x, y: torch.stack([x[0, 0], y[0, 0]]),
        lambda x, y: y[x.argsort(1)[0] % 2], lambda x, y: torch.where(x > 0, x, y), lambda x, y: nn.Linear(3, 2)(x),
        lambda x, y: torch.randn(3, generator=torch.Generator(), device="cuda"), lambda x, y: x.index_put_((x > 0,), y),
        lambda x, y: y[0, 0].add_(x[0, 0]), lambda x, y: torch.zeros(3, device="cuda").fill_(y[0]),
    ],
)  # fmt: skip
def test_tensors_of_both_places_do_not_mix(device: FakeDevice, work: Callable[[Tensor, Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, device="cuda")
    with pytest.raises(RuntimeError):
        work(x, torch.randn(2, 3))


def test_there_is_no_way_to_numpy_but_by_the_host(device: FakeDevice) -> None:
    import numpy as np

    x = torch.arange(3, device="cuda")
    for convert in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(TypeError, match=r"Tensor\.cpu\(\)"):
            convert()
    assert x.cpu().numpy().tolist() == [0, 1, 2]


def test_numbers_and_indices_of_the_cpu_are_taken(device: FakeDevice) -> None:
    x, number = torch.arange(6.0, device="cuda"), torch.tensor(2.0)
    assert (x * number).tolist() == [0, 2, 4, 6, 8, 10]
    assert x[torch.tensor([1, 2])].tolist() == x[[1, 2]].tolist() == x.view(2, 3)[0, [1, 2]].tolist() == [1, 2]
    x[torch.tensor([0])] = number
    assert x.masked_fill(x > 3, number)[-1] == 2


def test_what_waits_is_counted(device: FakeDevice) -> None:
    x, mask, host = torch.randn(4, 4, device="cuda"), torch.ones(4, device="cuda") > 0, torch.randn(4, 4)
    pinned = torch.empty(4, 4, pin_memory=True)
    assert counted(device, lambda: (x @ x).relu().sum(0)[mask.nonzero().T[0].shape[0] - 1]) == (1, 0, 0)
    assert counted(device, lambda: float(x[0, 0])) == (1, 0, 1)
    assert counted(device, lambda: bool((x > 0).all())) == (1, 0, 1)
    assert counted(device, lambda: x[mask]) == (1, 0, 0)
    assert counted(device, lambda: x.masked_fill(mask, 0)) == (0, 0, 0)
    assert counted(device, lambda: torch.equal(x, x)) == (1, 0, 0)
    assert counted(device, lambda: x.cpu()) == (1, 0, 1)
    assert counted(device, lambda: x.tolist()) == (1, 0, 1)
    assert counted(device, lambda: host.to("cuda")) == (1, 1, 0)
    assert counted(device, lambda: x.to("cuda")) == (0, 0, 0)
    assert counted(device, lambda: torch.tensor([1.0, 2.0], device="cuda")) == (1, 1, 0)
    assert counted(device, lambda: x[torch.tensor([1])]) == (1, 1, 0)
    assert counted(device, lambda: x[:, [1, 2]]) == (1, 1, 0)
    assert counted(device, lambda: torch.zeros(3, device="cuda") + torch.full((), 1.0, device="cuda")) == (0, 0, 0)
    assert counted(device, lambda: pinned.to("cuda", non_blocking=True)) == (0, 1, 0)
    assert counted(device, lambda: pinned.copy_(x, non_blocking=True)) == (0, 0, 1)
    assert counted(device, lambda: host.copy_(x, non_blocking=True)) == (1, 0, 1)
    assert counted(device, lambda: torch.cuda.current_stream().synchronize()) == (1, 0, 0)
    assert counted(device, lambda: torch.cuda.Event().synchronize()) == (1, 0, 0)
    assert counted(device, torch.cuda.synchronize) == (1, 0, 0)
    with torch.inference_mode():
        assert counted(device, lambda: float(x[0, 0])) == (1, 0, 1)
        assert counted(device, lambda: x.to(torch.float64).cpu()) == (1, 0, 1)
    assert host.is_pinned() is False
    assert pinned.is_pinned() is True
    assert device.traffic.bytes("to host") == 128


def test_other_threads_have_the_device_and_are_counted_apart(device: FakeDevice) -> None:
    with ThreadPoolExecutor(1, "model") as thread:
        x = thread.submit(lambda: torch.ones(2, 2).to("cuda")).result()
    assert float(x.sum()) == 4
    assert [device.traffic.count("to device", name) for name in ("model", "Main", "")] == [1, 0, 1]
    assert device.traffic.bytes("to device") == 16


def test_mps_has_no_float64() -> None:
    with fake_mps():
        x = torch.ones(3, device="mps")
        assert x.device == torch.ones(3).to("mps").device == MPS
        assert not x.is_cuda
        assert nn.Linear(3, 1).to(torch.device("mps"))(x).shape == (1,)
        for work in (x.double, lambda: torch.zeros(2, dtype=torch.float64, device="mps")):
            with pytest.raises(TypeError, match="float64"):
                work()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one")
def test_without_it_there_is_none() -> None:
    assert not torch.cuda.is_available()
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(1, device="cuda")
