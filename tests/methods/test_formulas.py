"""Every method at a layer against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.methods import METHODS

from . import naive, naive_paths, naive_trials
from .naive import SCORES, Case
from .networks import Pooled, StandIn, home, nchw, noise, quick, random_net, seeded

FORMULAS = {
    "gradcam": naive.gradcam,
    "gradcam++": naive.gradcampp,
    "smoothgradcam++": naive.smoothgradcampp,
    "xgradcam": naive.xgradcam,
    "hirescam": naive.hirescam,
    "gradcamelementwise": naive.gradcamelementwise,
    "layercam": naive.layercam,
    "shapleycam": naive.shapleycam,
    "finercam": naive.finercam,
    "pathcam": naive_paths.pathcam_of_case,
    "eigencam": naive.eigencam,
    "eigengradcam": naive.eigengradcam,
    "segeigencam": naive.segeigencam,
    "kpcacam": naive.kpcacam,
    "fem": naive.fem,
    "lafam": naive.lafam,
    "scorecam": naive_trials.scorecam,
    "sscam": naive_trials.sscam,
    "iscam": naive_trials.iscam,
    "ablationcam": naive_trials.ablationcam,
    "reciprocam": naive_trials.reciprocam,
    "groupcam": naive_trials.groupcam,
    "rise": naive_trials.rise,
    "opticam": naive_trials.opticam,
}
"""Methods at a layer, each written with loops. ``cam`` and ``randomcam`` have tests of their own below."""

CASES = [
    (method, score)
    for method in FORMULAS
    for score in (("logit", "prob") if METHODS[method].family == "changes" else SCORES)
]
"""Methods that compare scores take many passes: they are tested with fewer scores and images."""


class Tail(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, a):
        return self.net.head(self.net.act(self.net.after(self.net.act(a))))


def case(net, pixels, target, score="logit", seed=0):
    net = net.double()
    return Case(nn.Sequential(net.stem, net.body), Tail(net), pixels.double(), target, score, seed)


def found(method, inputs, targets, net=None, seeds=(0, 1, 2, 3), options=None, **settings):
    layers = [nchw("body", (4, 4))]
    options = ExplainOptions(method_options=options or quick(method), **settings)
    result = Explainer(StandIn(net or random_net(5)), layers, [method], options)(
        inputs, lambda _: targets, seeds[: len(inputs)]
    )
    return next(iter(result.maps.values()))


@pytest.mark.parametrize(("method", "score"), CASES)
def test_method_is_its_formula(method, score):
    inputs, targets = noise(4, seed=3), torch.tensor([[0], [4], [2], [2]])
    if METHODS[method].family == "changes":
        inputs, targets = inputs[:2], targets[1:3]
    for i, maps in enumerate(found(method, inputs, targets, score=score)):
        expected = FORMULAS[method](case(random_net(5), inputs[i], int(targets[i]), score, seed=i))
        np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("method", ["gradcam++", "smoothgradcam++", "shapleycam", "ablationcam", "reciprocam"])
def test_method_is_its_formula_behind_smooth_activations_too(method, smooth):
    inputs, targets = noise(2, seed=8), torch.tensor([[1], [3]])
    net = random_net(6, smooth=smooth)
    for i, maps in enumerate(found(method, inputs, targets, net)):
        expected = FORMULAS[method](case(random_net(6, smooth=smooth), inputs[i], int(targets[i]), seed=i))
        np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_cam_is_the_weights_of_the_last_layer():
    inputs, net = noise(2), seeded(Pooled)
    for score in SCORES:
        options = ExplainOptions(score=score)
        explainer = Explainer(StandIn(net), [nchw("body", (4, 4))], ["cam", "gradcam"], options)
        maps = explainer(inputs, lambda _: torch.tensor([[1], [3]]), [0, 1]).maps
        a = net.body(torch.relu(net.stem(inputs))).detach()
        for i, c in enumerate((1, 3)):
            expected = (net.linear.weight[c].detach()[:, None, None] * a[i]).sum(0)
            assert torch.allclose(maps[MapKey("cam", "body", 0)][i], expected, atol=1e-5)
            if score == "logit":
                assert torch.allclose(maps[MapKey("gradcam", "body", 0)][i] * 16, expected, atol=1e-5)


def test_ablationcam_fills_with_the_mean():
    inputs, targets = noise(1, seed=2), torch.tensor([[1]])
    maps = found("ablationcam", inputs, targets, options=["ablationcam.fill=mean"])[0]
    expected = naive_trials.ablationcam(case(random_net(5), inputs[0], 1), fill="mean")
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_ablationcam_has_a_closed_form_before_pooling_and_a_linear_layer():
    inputs, net = noise(3), seeded(Pooled)
    explainer = Explainer(StandIn(net), [nchw("body", (4, 4))], ["ablationcam"])
    result = explainer(inputs, lambda z: z.argmax(1, keepdim=True), [0, 1, 2])
    a = net.body(torch.relu(net.stem(inputs))).detach()
    for i, c in enumerate(result.targets[:, 0]):
        share = net.linear.weight[c] * a[i].mean((1, 2)) / result.logits[i, c].abs()
        expected = (share[:, None, None] * a[i]).sum(0).detach()
        assert torch.allclose(result.maps[MapKey("ablationcam", "body", 0)][i], expected, atol=1e-5)


def test_shapleycam_is_gradcam_where_the_tail_is_piecewise_linear():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = random_net(2)
            self.net.head[2] = nn.ReLU()

        def forward(self, x):
            return self.net(x)

    layers = [nchw("net.body", (4, 4))]
    maps = Explainer(StandIn(Linear()), layers, ["shapleycam", "gradcam"])(
        noise(3), lambda z: z.argmax(1, keepdim=True), [0, 1, 2]
    ).maps
    shapley, plain = (maps[MapKey(key, "net.body", 0)] for key in ("shapleycam", "gradcam"))
    assert torch.allclose(shapley, plain, atol=1e-6)


@pytest.mark.parametrize("method", ["eigencam", "eigengradcam", "segeigencam", "kpcacam"])
def test_the_sign_does_not_hang_on_the_order_of_the_channels(method):
    net, layers = home(method)
    shuffled = home(method)[0]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        shuffled.body.weight.copy_(net.body.weight[order])
        shuffled.body.bias.copy_(net.body.bias[order])
        shuffled.after.weight.copy_(net.after.weight[:, order])
    results = [
        Explainer(StandIn(n), layers[:1], [method])(noise(8), lambda z: z.argmax(1, keepdim=True), range(8))
        for n in (net, shuffled)
    ]
    (plain,), (other,) = (result.maps.values() for result in results)
    assert torch.allclose(plain, other, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize(
    ("references", "expected"),
    [("2", [0.5, 0.0, 0.5]), ("c:2", [0.0, 0.0, 1.0]), ("c:0:1", [1.0, 0.0, 0.0]), ("label", [0.0, 0.0, 1.0])],
)
def test_finercam_compares_with_the_references_asked_for(references, expected):
    from camcli.methods.finercam import OPTIONS, contrast

    parsed = next(o for o in OPTIONS if o.key == "references").parse(references, "finercam")
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    score = contrast(logits, torch.tensor([1]), torch.tensor([2]), {"gamma": 0.6, "references": parsed})
    assert score.item() == pytest.approx(2.0 - 0.6 * float((torch.tensor(expected) * logits[0]).sum()))


def test_finercam_takes_the_nearest_classes_where_the_label_is_the_target_or_unknown():
    from camcli.methods.finercam import reference_weights

    logits = torch.tensor([[1.0, 2.0, 4.0, 9.0, -3.0]] * 3)
    weights = reference_weights(logits, torch.tensor([1, 1, 1]), torch.tensor([1, -1, 3]), "label")
    third = 1 / 3
    assert torch.allclose(weights[0], torch.tensor([third, 0, third, 0, third]))
    assert torch.allclose(weights[1], weights[0])
    assert torch.equal(weights[2], torch.tensor([0.0, 0, 0, 1, 0]))


def test_randomcam_is_a_sum_with_weights_between_minus_one_and_one():
    inputs = noise(1)
    maps = [found("randomcam", inputs, torch.zeros(1, 1, dtype=torch.int64), seeds=[s])[0] for s in (1, 1, 2)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2])
    net = random_net(5)
    a = net.body(net.stem(inputs))[0].detach().flatten(1)
    weights = torch.linalg.lstsq(a.T.double(), maps[0].flatten()[:, None].double()).solution
    assert torch.allclose(a.T.double() @ weights, maps[0].flatten()[:, None].double(), atol=1e-5)
    assert weights.abs().max() <= 1
