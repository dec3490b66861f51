"""Fusing layers, augmentation, models without classes, memory, progress, the plan."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camcli.errors import ConfigError, MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.explainer.access import Chunks
from camcli.methods import METHODS
from camcli.methods.images import normalised, upsampled
from tests.methods.networks import (
    Pooled,
    StandIn,
    Transformer,
    home,
    nchw,
    noise,
    quick,
    random_net,
    seeded,
    tokens,
)  # fmt: skip

LAYERS = [nchw("after", (4, 4)), nchw("stem", (8, 8))]  # not in the order of the pass


def top(logits):
    return logits.argmax(1, keepdim=True)


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


def test_out_of_memory_halves_the_chunk_and_changes_nothing():
    chunks, sizes = Chunks(1 << 30, 8), []

    def trial(part):
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            raise torch.cuda.OutOfMemoryError
        return torch.arange(part.start, part.stop)

    assert torch.equal(chunks.run(7, 4, trial, lambda *_: None), torch.arange(7))
    assert sizes == [7, 3, 3, 1]


def test_one_trial_that_does_not_fit_is_an_error():
    def trial(part):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Chunks(1 << 30, 8).run(7, 4, trial, lambda *_: None)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "reciprocam", "rise", "groupcam"])
def test_the_size_of_the_chunks_changes_last_bits_at_most(method):
    net, layers = home(method)
    whole, small = (
        Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method))) for _ in "ab"
    )
    small._chunks = Chunks(1, 3)
    results = [e(noise(2), top, [0, 1]).maps for e in (whole, small)]
    for key, expected in results[0].items():
        assert torch.allclose(expected, results[1][key], atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("method", [m.key for m in METHODS.values() if m.whole_graph])
def test_graphs_of_whole_networks_are_held_for_a_few_images_at_once(method):
    net, layers = home(method)
    most = []
    net.register_forward_pre_hook(lambda m, args: most.append(len(args[0])))
    explainer = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    explainer._chunks = Chunks(1 << 30, 128, images=2)
    inputs = torch.cat([noise(3), noise(3)[-1:].expand(3, -1, -1, -1)])
    seeds = [0, 1, 2, 2, 2, 2]
    most.clear()
    found = explainer(inputs, lambda z: z.argsort(1)[:, :2], seeds, real=3).maps
    assert set(most) == {6, 2, 1}
    whole = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    for key, expected in whole(inputs, lambda z: z.argsort(1)[:, :2], seeds).maps.items():
        assert torch.allclose(found[key], expected, atol=1e-5 * float(expected.abs().max()))


def test_augmentation_needs_to_know_how_pixels_are_normalised():
    model = StandIn(random_net())
    model.preprocessing.custom = lambda image: image
    with pytest.raises(ConfigError, match="--aug-smooth"):
        Explainer(model, LAYERS, ["gradcam"], ExplainOptions(aug_smooth=True))


def test_progress_inside_an_image_is_told():
    told = []
    explainer = Explainer(
        StandIn(random_net()), LAYERS[:1], ["scorecam", "gradcam"], progress=lambda *what: told.append(what)
    )
    explainer._chunks = Chunks(1 << 30, 3)
    explainer(noise(1), top, [0])
    assert told == [("scorecam", 1, 1), ("scorecam", 3, 7), ("scorecam", 6, 7), ("scorecam", 7, 7)]


def test_notes_say_what_is_approximate():
    options = ExplainOptions(method_options=["scorecam.max_channels=3"])
    explainer = Explainer(StandIn(random_net()), LAYERS[:1], ["scorecam"], options)
    assert explainer.notes == ("scorecam: an approximation: only the 3 channels of largest variance are scored",)
    assert explainer.notes[0] in explainer.plan()[-1]


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


def test_trials_run_in_float32_unless_a_precision_was_asked_for():
    seen = []
    net = random_net()
    net.head[-1].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    for given in (False, True):
        options = ExplainOptions(precision="bf16", precision_given=given)
        explainer = Explainer(StandIn(net), LAYERS[:1], ["ablationcam", "scorecam"], options)
        seen.clear()
        explainer(noise(1), top, [0])
        assert seen[0] == torch.bfloat16
        assert set(seen[1:]) == {torch.bfloat16 if given else torch.float32}


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


def test_finercam_needs_two_classes():
    with pytest.raises(MethodError, match="one logit"):
        Explainer(StandIn(random_net(classes=1), num_classes=1), LAYERS, ["finercam"])


def test_finercams_references_are_classes_of_the_model():
    options = ExplainOptions(method_options=["finercam.references=c:1:7"])
    with pytest.raises(MethodError, match="0 to 4"):
        Explainer(StandIn(random_net()), LAYERS, ["finercam"], options)


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


@pytest.mark.parametrize(
    "text",
    [
        "scorecam.max_channels=0", "scorecam.max_channels=many", "scorecam.weights=mean", "sscam.std=nan",
        "ablationcam.fill=noise", "rise.p=1.5", "finercam.references=0", "finercam.references=a:b", "opticam.lr=-1",
        "finercam.base=eigencam",
    ],
)  # fmt: skip
def test_a_value_that_an_option_does_not_take_is_refused_with_what_it_takes(text):
    with pytest.raises(MethodError, match=f"--option {text}: give "):
        Explainer(StandIn(random_net()), LAYERS, [text.split(".")[0]], ExplainOptions(method_options=[text]))


def test_an_option_of_a_method_that_is_not_used_is_refused():
    with pytest.raises(MethodError, match="not among the methods"):
        Explainer(StandIn(random_net()), LAYERS, ["gradcam"], ExplainOptions(method_options=["rise.masks=5"]))


def test_dashes_in_options_are_underscores():
    options = ExplainOptions(method_options=["scorecam.max-channels=2"])
    assert Explainer(StandIn(random_net()), LAYERS, ["scorecam"], options).notes


@pytest.mark.parametrize("name", ["fuse", "precision", "probability", "score"])
def test_unknown_values_are_refused(name):
    with pytest.raises(ConfigError, match=f"--{name} sum"):
        ExplainOptions(**{name: "sum"})


def test_every_method_describes_itself():
    for key, method in METHODS.items():
        told = method.as_json()
        assert told["key"] == key
        assert told["name"]
        assert told["cost"]
        assert told["paper"]
        assert {option["key"] for option in told["options"]} == {option.key for option in method.options}
