"""Options: which values they take, and what they change."""

from __future__ import annotations

import pytest
import torch

from camcli.errors import ConfigError, MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.methods import METHODS
from tests.explainer.two_layers import LAYERS, top
from tests.methods.networks import StandIn, noise, random_net


@pytest.mark.parametrize(
    "text",
    [
        "scorecam.max_channels=0", "scorecam.max_channels=many", "scorecam.weights=mean", "sscam.std=nan",
        "ablationcam.fill=noise", "rise.p=1.5", "finercam.references=0", "finercam.references=a:b", "opticam.lr=-1",
        "finercam.base=eigencam", "pathcam.fast=maybe", "pathcam.layers=8:a", "pathcam.layers=0", "pathcam.steps=0",
    ],
)  # fmt: skip
def test_a_value_that_an_option_does_not_take_is_refused_with_what_it_takes(text):
    with pytest.raises(MethodError, match=f"--option {text}: give "):
        Explainer(StandIn(random_net()), LAYERS, [text.split(".")[0]], ExplainOptions(method_options=[text]))


def test_an_option_of_a_method_that_is_not_used_is_refused():
    with pytest.raises(MethodError, match="not among the methods"):
        Explainer(StandIn(random_net()), LAYERS, ["gradcam"], ExplainOptions(method_options=["rise.masks=5"]))


@pytest.mark.parametrize("name", ["fuse", "precision", "probability", "score"])
def test_unknown_values_are_refused(name):
    with pytest.raises(ConfigError, match=f"--{name} sum"):
        ExplainOptions(**{name: "sum"})


def test_dashes_in_options_are_underscores():
    options = ExplainOptions(method_options=["scorecam.max-channels=2"])
    assert Explainer(StandIn(random_net()), LAYERS, ["scorecam"], options).notes


def test_every_method_describes_itself():
    for key, method in METHODS.items():
        told = method.as_json()
        assert told["key"] == key
        assert told["name"]
        assert told["cost"]
        assert told["paper"]
        assert {option["key"] for option in told["options"]} == {option.key for option in method.options}


def test_only_the_channels_of_largest_variance_are_weighted():
    net, inputs = random_net(), noise(1)
    a = net.after(torch.relu(net.body(net.stem(inputs))))[0].detach()
    few = maps_of(net, inputs, ["scorecam.max_channels=3", "scorecam.weights=raw"])
    weights = torch.linalg.lstsq(a.flatten(1).T.double(), few.flatten()[:, None].double()).solution[:, 0]
    kept = set(a.var((1, 2)).topk(3).indices.tolist())
    assert {k for k in range(7) if weights[k].abs() > 1e-4 * weights.abs().max()} == kept


def maps_of(net, inputs, method_options):
    options = ExplainOptions(method_options=method_options)
    (found,) = Explainer(StandIn(net), LAYERS[:1], ["scorecam"], options)(inputs, top, [0]).maps.values()
    return found[0]


def test_finercam_explains_the_prediction_against_the_label():
    options = ExplainOptions(method_options=["finercam.references=label", "finercam.gamma=1"])
    explainer = Explainer(StandIn(random_net()), LAYERS[:1], ["finercam", "gradcam"], options)
    inputs = noise(2)
    found = explainer(inputs, top, [0, 1], labels=torch.tensor([2, -1]))
    own = found.maps[MapKey("gradcam", "after", 0)]
    other = explainer(inputs, lambda _: torch.tensor([[2], [2]]), [0, 1]).maps[MapKey("gradcam", "after", 0)]
    contrast = found.maps[MapKey("finercam", "after", 0)]
    assert int(found.targets[0]) != 2
    assert torch.allclose(contrast[0], own[0] - other[0], atol=1e-6)
    assert not torch.allclose(contrast[1], own[1] - other[1], atol=1e-6)


def test_trials_run_in_float32_unless_a_precision_was_asked_for():
    seen = []
    net = random_net()
    net.head[1].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    for given in (False, True):
        options = ExplainOptions(precision="bf16", precision_given=given)
        explainer = Explainer(StandIn(net), LAYERS[:1], ["ablationcam", "scorecam"], options)
        seen.clear()
        explainer(noise(1), top, [0])
        assert seen[0] == torch.bfloat16
        assert set(seen[1:]) == {torch.bfloat16 if given else torch.float32}
