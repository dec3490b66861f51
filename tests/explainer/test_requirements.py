"""What a method needs of a model and of its layers is checked before any image."""

from __future__ import annotations

import pytest
from torch import nn

from camcli.errors import MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.methods import METHODS
from tests.explainer.two_layers import LAYERS
from tests.methods.networks import Pooled, StandIn, Transformer, nchw, noise, random_net, seeded, tokens


@pytest.mark.parametrize(
    ("method", "net", "layers", "words"),
    [
        ("cam", random_net, [nchw("body", (4, 4))], "not the same at all positions.*gradcam"),
        ("cam", lambda: seeded(Transformer), [tokens("blocks.2")], "no gradient there"),
        ("cam", lambda: seeded(lambda: Transformer(class_token=False)), [tokens("norm", 0)], None),
        ("cam", lambda: seeded(Pooled), [nchw("stem", (8, 8))], "not the same"),
        ("guidedbackprop", lambda: seeded(Transformer), [tokens("blocks.1")], "gelu"),
        ("rollout", random_net, [nchw("body", (4, 4))], "no tokens"),
        ("refinecam", lambda: seeded(Transformer), [tokens("blocks.1")], "--layer A --layer B"),
    ],
)
def test_requirements_are_checked_before_any_image(method, net, layers, words):
    if words is None:
        Explainer(StandIn(net()), layers, [method])
        return
    with pytest.raises(MethodError, match=words):
        Explainer(StandIn(net()), layers, [method])


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = random_net()

    def forward(self, x):
        return {"features": self.net.after(self.net.body(self.net.stem(x)))}


def test_a_model_without_classes_is_explained_by_methods_without_classes():
    model = StandIn(Encoder(), num_classes=None)
    layers = [nchw("net.body", (4, 4))]

    def never(_logits):
        raise AssertionError("there is nothing to choose from")

    agnostic = [m.key for m in METHODS.values() if not m.class_specific and m.scope == "layer"]
    found = Explainer(model, layers, agnostic)(noise(2), never, [0, 1])
    assert found.logits.shape == (2, 0)
    assert found.targets.shape == (2, 1)
    assert set(found.maps) == {MapKey(key, "net.body", 0) for key in agnostic}


def test_a_model_without_classes_refuses_methods_with_classes():
    with pytest.raises(MethodError, match="gradcam: the model has no classifier"):
        Explainer(StandIn(Encoder(), num_classes=None), [nchw("net.body", (4, 4))], ["eigencam", "gradcam"])


def test_finercam_needs_two_classes():
    with pytest.raises(MethodError, match="one logit"):
        Explainer(StandIn(random_net(classes=1), num_classes=1), LAYERS, ["finercam"])


def test_finercams_references_are_classes_of_the_model():
    options = ExplainOptions(method_options=["finercam.references=c:1:7"])
    with pytest.raises(MethodError, match="0 to 4"):
        Explainer(StandIn(random_net()), LAYERS, ["finercam"], options)
