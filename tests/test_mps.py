"""float64 where the device has none: it is computed on the CPU, with the results of a run on the CPU."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camcli.device import in_float64
from camcli.evaluation.measure import measure
from camcli.explainer import Explainer, ExplainOptions
from camcli.methods import METHODS, philox
from camcli.metrics import METRICS, Sample
from camcli.metrics.adcc import coherency
from camcli.metrics.entropy import entropy
from camcli.metrics.gridpg import grid_pointing
from camcli.metrics.sparsity import sparsity
from camcli.models.output_entries import are_logarithms, sum_to_one
from camcli.models.output_recognition import _are_unit_vectors
from camcli.speed.dataflow import Pair
from camcli.speed.fold import fold
from tests.fake_mps import FakeMps, OnMps, moved
from tests.methods.networks import StandIn, home, noise, quick


@pytest.fixture
def mps():
    with FakeMps():
        yield
    philox._quantiles.cache_clear()  # a table of a device that is no more


@pytest.mark.usefixtures("mps")
def test_the_fake_device_has_no_float64_and_takes_no_tensors_of_the_cpu():
    x = torch.ones(3).to("mps")
    assert x.device.type == (x + 1).device.type == torch.zeros(3, device=x.device).device.type == "mps"
    assert x.cpu().device.type == x.to("cpu").double().device.type == "cpu"
    for wrong in (x.double, lambda: x.to(torch.float64), lambda: torch.arange(3, dtype=torch.float64, device="mps")):
        with pytest.raises(TypeError, match="Cannot convert a MPS Tensor"):
            wrong()
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)


@pytest.mark.usefixtures("mps")
def test_float64_is_on_the_cpu_where_the_device_has_none():
    double = in_float64(torch.ones(3).to("mps"))
    assert (double.dtype, double.device.type) == (torch.float64, "cpu")


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norms_are_folded(bias):
    def net(conv=bias):
        torch.manual_seed(0)
        pair = Pair(nn.Conv2d(3, 4, 3, bias=conv), nn.BatchNorm2d(4).eval())
        nn.init.uniform_(pair.norm.running_mean)
        nn.init.uniform_(pair.norm.weight)
        return pair

    folded = []
    for pair in (net(), net()):
        with ExitStack() as stack, ExitStack() as undo:
            module = nn.Sequential(pair.conv, pair.norm)
            if folded:
                stack.enter_context(FakeMps())
                moved(module)
            assert fold(module, [pair], undo) == 1
            folded.append((pair.conv.weight, pair.conv.bias))
    for plain, own in zip(*folded, strict=True):
        assert isinstance(own.data, OnMps)
        assert torch.equal(plain, own.as_subclass(torch.Tensor))


@pytest.mark.usefixtures("mps")
@pytest.mark.parametrize(
    "metric", [entropy, sparsity, lambda maps: grid_pointing(maps, 2), lambda maps: coherency(maps, maps**2)]
)
def test_metrics_are_those_of_the_cpu_and_stay_on_the_device(metric):
    maps = noise(4)[:, 0]
    own = metric(maps.to("mps"))
    assert own.device.type == "mps"
    assert torch.equal(own.cpu(), metric(maps))


@pytest.mark.usefixtures("mps")
def test_values_of_metrics_are_collected():
    native = noise(4)[:, 0]
    images = SimpleNamespace(regions=None)
    own, plain = (
        measure([METRICS["entropy"]], Sample(images, maps, maps, torch.relu))  # type: ignore[arg-type]
        for maps in (native.to("mps"), native)
    )
    assert own["entropy"].tobytes() == plain["entropy"].tobytes()


@pytest.mark.usefixtures("mps")
def test_outputs_are_recognised():
    rows = torch.softmax(torch.randn(3, 200, generator=torch.Generator().manual_seed(0)), 1)
    for states in (sum_to_one, are_logarithms, _are_unit_vectors):
        for values in (rows, rows.log(), rows / rows.norm(dim=1, keepdim=True)):
            assert states(values.to("mps")) == states(values)


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_those_of_the_cpu(method):
    options = ExplainOptions(method_options=quick(method))
    maps = []
    for fake in (False, True):
        net, layers = home(method)
        with ExitStack() as stack:
            if fake:
                stack.enter_context(FakeMps())
                moved(net)
            inputs = noise(2).to("mps") if fake else noise(2)
            explain = Explainer(StandIn(net), layers, [method], options)
            maps.append(explain(inputs, lambda z: z.argsort(1)[:, :2], [0, 1]).maps)
    for key, plain in maps[0].items():
        assert torch.equal(plain, maps[1][key].as_subclass(torch.Tensor))
