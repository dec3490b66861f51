"""What a run does for speed and memory leaves its maps as they are."""

from __future__ import annotations

import pytest
import torch

from camcli.explainer import Explainer, ExplainOptions
from camcli.speed import compilation
from tests.methods.networks import StandIn, nchw, noise, quick, random_net

LAYERS = [nchw("after", (4, 4)), nchw("body", (4, 4))]  # not in the order of the pass


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph runs as it is: what compiling does to it is tested elsewhere, and takes seconds."""
    monkeypatch.setattr(compilation, "_compile", lambda graph: graph)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("method", "options"),
    [
        *(
            (m, {})
            for m in ("layercam", "ablationcam", "scorecam", "rise", "fullgrad", "eigencam", "shapleycam", "pathcam")
        ),
        *((m, {"aug_smooth": True}) for m in ("gradcam", "sscam")),
    ],
)
def test_maps_with_a_split_network_are_those_without(method, options):
    plain = Explainer(StandIn(random_net()), LAYERS, [method], ExplainOptions(method_options=quick(method), **options))
    inputs = noise(3)
    split, result = plain.compile(inputs)
    assert result.works, result.note
    assert "what comes before body was compiled" in result.note

    def maps(explainer):
        return explainer(inputs, lambda logits: logits.argmax(1, keepdim=True), [0, 1, 2]).maps

    expected, found = maps(plain), maps(split)
    assert list(expected) == list(found)
    for key, own in expected.items():
        torch.testing.assert_close(found[key], own, rtol=1e-4, atol=1e-5)


def test_a_rehearsal_runs_the_shared_passes():
    seen = []
    net = random_net()
    net.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape)))
    net.head.register_full_backward_hook(lambda *_: seen.append("backward"))
    Explainer(StandIn(net), LAYERS[:1], ["gradcam"]).rehearse(noise(5))
    assert seen == [tuple(noise(5).shape), "backward"]
