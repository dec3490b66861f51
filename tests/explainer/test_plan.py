"""The plan: which passes methods share, which they make for themselves, and what they approximate."""

from __future__ import annotations

from camcli.explainer import Explainer, ExplainOptions
from tests.explainer.two_layers import LAYERS
from tests.methods.networks import StandIn, random_net


def test_the_plan_lists_shared_and_own_passes():
    methods = ["gradcam", "layercam", "finercam", "eigencam", "scorecam", "ablationcam", "rise"]
    lines = Explainer(StandIn(random_net()), LAYERS, methods).plan()
    assert lines[0] == "1 forward (fp32): logits, activations at stem, after"
    assert lines[1] == "1 backward a target, from its score to stem, after: gradcam, layercam"
    assert lines[2] == "1 backward a target, from a score of its own: finercam"
    assert "no more passes: eigencam" in lines
    assert "scorecam: (K+1)F an image, all targets at once (fp32)" in lines
    assert len(lines) == 7


def test_the_plan_counts_with_the_options_as_set():
    options = ExplainOptions(method_options=["rise.masks=40", "opticam.steps=7"])
    lines = Explainer(StandIn(random_net()), LAYERS[:1], ["rise", "opticam", "sscam"], options).plan()
    assert "rise: 40F an image, all targets at once (fp32)" in lines
    assert "opticam: 7(F+B) an image, a target (fp32)" in lines
    assert "sscam: 10K F an image, all targets at once (fp32)" in lines


def test_notes_say_what_is_approximate():
    options = ExplainOptions(method_options=["scorecam.max_channels=3"])
    explainer = Explainer(StandIn(random_net()), LAYERS[:1], ["scorecam"], options)
    assert explainer.notes == ("scorecam: an approximation: only the 3 channels of largest variance are scored",)
    assert explainer.notes[0] in explainer.plan()[-1]
