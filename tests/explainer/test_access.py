"""Methods of many passes: in chunks that fit into memory, with progress inside an image."""

from __future__ import annotations

import pytest
import torch

from camcli.device import BatchLimit
from camcli.explainer import Explainer, ExplainOptions
from camcli.explainer.access import Chunks
from camcli.methods import METHODS
from tests.explainer.two_layers import LAYERS, top
from tests.methods.networks import StandIn, home, noise, quick, random_net


def test_out_of_memory_halves_the_chunk_and_changes_nothing():
    chunks, sizes = Chunks(1 << 30, BatchLimit(8)), []

    def trial(part):
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.arange(part.start, part.stop)

    assert torch.equal(chunks.run(7, 4, trial, lambda *_: None), torch.arange(7))
    assert sizes == [7, 4, 2, 2, 2, 1]


def test_one_trial_that_does_not_fit_is_an_error():
    def trial(part):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Chunks(1 << 30, BatchLimit(8)).run(7, 4, trial, lambda *_: None)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "reciprocam", "rise", "groupcam"])
def test_the_size_of_the_chunks_changes_last_bits_at_most(method):
    net, layers = home(method)
    whole, small = (
        Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method))) for _ in "ab"
    )
    small._chunks = Chunks(1, BatchLimit(3))
    results = [e(noise(2), top, [0, 1]).maps for e in (whole, small)]
    for key, expected in results[0].items():
        assert torch.allclose(expected, results[1][key], atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("method", [m.key for m in METHODS.values() if m.whole_graph])
def test_graphs_of_whole_networks_are_held_for_a_few_images_at_once(method):
    net, layers = home(method)
    most = []
    net.register_forward_pre_hook(lambda m, args: most.append(len(args[0])))
    explainer = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    explainer._chunks = Chunks(1 << 30, BatchLimit(128), BatchLimit(2))
    inputs = torch.cat([noise(3), noise(3)[-1:].expand(3, -1, -1, -1)])
    seeds = [0, 1, 2, 2, 2, 2]
    most.clear()
    found = explainer(inputs, lambda z: z.argsort(1)[:, :2], seeds, real=3).maps
    assert set(most) == {6, 2}  # of three images, the last group has a second one as well
    whole = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    for key, expected in whole(inputs, lambda z: z.argsort(1)[:, :2], seeds).maps.items():
        assert torch.allclose(found[key], expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("method", ["fullgrad", "rollout", "guidedgradcam"])
def test_a_map_of_a_whole_network_does_not_depend_on_its_place_in_the_batch(method):
    net, layers = home(method)
    explainer = Explainer(StandIn(net), layers[:1], [method])
    inputs, seeds = noise(7), list(range(7))
    (maps,) = explainer(inputs, lambda z: torch.zeros(len(z), 1, dtype=torch.int64), seeds).maps.values()
    order = [6, 2, 0, 5, 1, 3, 4]
    (other,) = explainer(inputs[order], lambda z: torch.zeros(len(z), 1, dtype=torch.int64), seeds).maps.values()
    assert torch.equal(other, maps[order])
    few = torch.cat([inputs[:5], inputs[4:5].expand(2, -1, -1, -1)])
    (other,) = explainer(few, lambda z: torch.zeros(len(z), 1, dtype=torch.int64), seeds, real=5).maps.values()
    assert torch.equal(other[:5], maps[:5])
    assert torch.equal(other[5:], maps[4:5].expand(2, -1, -1))


@pytest.mark.parametrize("method", [m.key for m in METHODS.values() if m.whole_graph])
def test_memory_that_runs_out_halves_the_group_before_the_batch(method):
    net, layers = home(method)
    options = ExplainOptions(method_options=quick(method))
    inputs, seeds = noise(6), list(range(6))
    two_targets = lambda z: z.argsort(1)[:, :2]  # noqa: E731
    small = Explainer(StandIn(net), layers, [method, "eigencam"], options)
    small._chunks = Chunks(16 << 20, BatchLimit(128), BatchLimit(2))
    expected = small(inputs, two_targets, seeds).maps
    explainer, run = Explainer(StandIn(net), layers, [method, "eigencam"], options), BatchLimit(6)
    explainer._chunks = Chunks(16 << 20, BatchLimit(128), BatchLimit(4))

    def refuse(_module, args):
        if len(args[0]) in (3, 4):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    net.register_forward_pre_hook(refuse)
    maps = run.fit(lambda size: explainer(inputs[:size], two_targets, seeds[:size])).maps
    assert (run.size, explainer._chunks.images.size) == (6, 2)
    assert small.caveats == ()
    assert explainer.caveats == ("explained in smaller parts after running out of memory",)
    assert all(torch.equal(maps[key], each) for key, each in expected.items())


def test_progress_inside_an_image_is_told():
    told = []
    explainer = Explainer(
        StandIn(random_net()), LAYERS[:1], ["scorecam", "gradcam"], progress=lambda *what: told.append(what)
    )
    explainer._chunks = Chunks(1 << 30, BatchLimit(3))
    explainer(noise(1), top, [0])
    assert told == [("scorecam", 1, 1), ("scorecam", 3, 7), ("scorecam", 6, 7), ("scorecam", 7, 7)]
