"""Several layers in one map."""

from __future__ import annotations

import pytest
import torch

from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.methods.images import normalised, upsampled
from tests.explainer.two_layers import LAYERS, top
from tests.methods.networks import StandIn, noise, random_net


def maps(methods, layers=LAYERS, net=None, **options):
    explainer = Explainer(StandIn(net or random_net()), layers, methods, ExplainOptions(**options))
    return explainer(noise(3), top, [0, 1, 2]).maps


@pytest.mark.parametrize("how", ["mean", "max", "product"])
def test_fused_layers_are_one_map(how):
    single, fused = maps(["gradcam", "fullgrad"]), maps(["gradcam", "fullgrad"], fuse=how)
    assert set(fused) == {MapKey("gradcam", ("stem", "after"), 0), MapKey("fullgrad", None, 0)}
    fine, coarse = (
        normalised(upsampled(single[MapKey("gradcam", path, 0)].relu(), (8, 8))) for path in ("stem", "after")
    )
    expected = {"mean": (fine + coarse) / 2, "max": torch.maximum(fine, coarse), "product": fine * coarse}[how]
    assert torch.allclose(fused[MapKey("gradcam", ("stem", "after"), 0)], expected, atol=1e-6)


def test_layercams_max_lifts_the_shallower_layers():
    single, fused = maps(["layercam"]), maps(["layercam"], fuse="max")
    shallow, deep = (single[MapKey("layercam", path, 0)].relu() for path in ("stem", "after"))
    lifted = torch.tanh(2 * shallow / shallow.amax((1, 2), keepdim=True))
    expected = torch.maximum(lifted, normalised(upsampled(deep, (8, 8))))
    assert torch.allclose(fused[MapKey("layercam", ("stem", "after"), 0)], expected, atol=1e-6)


def test_one_layer_is_not_fused():
    assert set(maps(["gradcam"], LAYERS[:1], fuse="mean")) == {MapKey("gradcam", "after", 0)}
