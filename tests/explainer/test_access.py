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
    explainer._chunks = Chunks(1 << 30, BatchLimit(128), images=2)
    inputs = torch.cat([noise(3), noise(3)[-1:].expand(3, -1, -1, -1)])
    seeds = [0, 1, 2, 2, 2, 2]
    most.clear()
    found = explainer(inputs, lambda z: z.argsort(1)[:, :2], seeds, real=3).maps
    assert set(most) == {6, 2, 1}
    whole = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    for key, expected in whole(inputs, lambda z: z.argsort(1)[:, :2], seeds).maps.items():
        assert torch.allclose(found[key], expected, atol=1e-5 * float(expected.abs().max()))


def test_progress_inside_an_image_is_told():
    told = []
    explainer = Explainer(
        StandIn(random_net()), LAYERS[:1], ["scorecam", "gradcam"], progress=lambda *what: told.append(what)
    )
    explainer._chunks = Chunks(1 << 30, BatchLimit(3))
    explainer(noise(1), top, [0])
    assert told == [("scorecam", 1, 1), ("scorecam", 3, 7), ("scorecam", 6, 7), ("scorecam", 7, 7)]
