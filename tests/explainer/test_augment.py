"""The mean of the maps of six variants of an image."""

from __future__ import annotations

import pytest
import torch

from camcli.errors import ConfigError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from tests.explainer.two_layers import LAYERS, top
from tests.methods.networks import StandIn, noise, random_net


def test_augmented_maps_are_the_mean_of_six():
    net = random_net()
    model = StandIn(net)
    inputs = noise(3)
    targets = Explainer(model, LAYERS, ["gradcam"])(inputs, top, range(3)).targets
    found = Explainer(model, LAYERS, ["gradcam"], ExplainOptions(aug_smooth=True))(inputs, top, range(3))
    assert torch.equal(found.targets, targets)
    pixels = inputs * 0.25 + 0.5
    for path in ("stem", "after"):
        total = 0
        for intensity in (0.9, 1.0, 1.1):
            varied = (pixels * intensity - 0.5) / 0.25
            plain, flipped = (
                Explainer(model, LAYERS, ["gradcam"])(x, lambda _: targets, range(3)).maps[MapKey("gradcam", path, 0)]
                for x in (varied, varied.flip(3))
            )
            total = total + plain + flipped.flip(2)
        assert torch.allclose(found.maps[MapKey("gradcam", path, 0)], total / 6, atol=1e-6)


def test_augmentation_needs_to_know_how_pixels_are_normalised():
    model = StandIn(random_net())
    model.preprocessing.custom = lambda image: image
    with pytest.raises(ConfigError, match="--aug-smooth"):
        Explainer(model, LAYERS, ["gradcam"], ExplainOptions(aug_smooth=True))
