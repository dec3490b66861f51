"""The other methods that a peer has: activations, contrasts, masks, several layers, pixels, attention."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import pytorch_grad_cam as peer
import torch
import torchvision
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchcam import methods as torchcam_methods

from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.methods import images, scorecam
from tests.methods.networks import StandIn, nchw, noise, tokens

from .peers import grad_cam, torchcam
from .trained import LAYER, TOLERANCE, assert_same, normalised, ours, photographs, predicted, trained


def test_grad_cam_agrees_on_fem():
    assert_same(ours("fem"), grad_cam(peer.FEM))


def test_grad_cam_agrees_on_segeigencam_whose_sign_rule_is_the_same():
    assert_same(ours("segeigencam"), grad_cam(peer.SegEigenCAM))


def test_grad_cam_agrees_on_kpcacam_up_to_the_sign():
    for a, b in zip(ours("kpcacam").numpy(), grad_cam(peer.KPCA_CAM), strict=True):
        b = b * np.sign(np.vdot(a, b))
        np.testing.assert_allclose(a / np.ptp(a), b / np.ptp(b), atol=TOLERANCE)


def test_grad_cam_agrees_on_shapleycam():
    assert_same(ours("shapleycam"), grad_cam(peer.ShapleyCAM))
    assert_same(ours("shapleycam", "blocks.5"), grad_cam(peer.ShapleyCAM, "blocks.5"))


def test_torchcam_agrees_on_cam():
    assert_same(ours("cam"), torchcam(torchcam_methods.CAM, fc_layer="classifier"))


@pytest.mark.parametrize("base", ["gradcam", "layercam"])
def test_torchcam_agrees_on_finercam(base):
    kind = {"gradcam": torchcam_methods.GradCAM, "layercam": torchcam_methods.LayerCAM}[base]
    mine = ours("finercam", method_options=[f"finercam.base={base}"])
    assert_same(mine, torchcam(torchcam_methods.FinerCAM, base_method=kind))


def test_grad_cam_weighs_the_references_of_finercam_by_their_probability():
    with peer.FinerCAM(trained(), [trained().get_submodule(LAYER)], base_method=peer.GradCAM) as cam:
        seen = []
        inside = cam.base_cam.get_cam_image
        cam.base_cam.get_cam_image = lambda *a, **k: seen.append(inside(*a, **k)) or seen[-1]
        cam(photographs(), None)
    mine = ours("finercam", method_options=["finercam.gamma=1"])
    assert np.abs(normalised(mine) - normalised(seen[0])).max() > TOLERANCE


def aligned(maps, size):
    shape = maps.shape[:-2]
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return nn.functional.interpolate(flat, size, mode="bilinear", align_corners=True).reshape(*shape, *size)


def test_grad_cam_agrees_on_scorecam_once_corners_are_aligned(monkeypatch):
    monkeypatch.setattr(scorecam, "upsampled", aligned)
    mine = ours("scorecam", "blocks.0", (112, 112))
    assert_same(mine, grad_cam(peer.ScoreCAM, "blocks.0"), tolerance=1e-4)


@pytest.mark.slow  # as the one above, with another peer
def test_torchcam_agrees_on_scorecam_once_masks_are_normalised_before_they_are_upsampled(monkeypatch):
    monkeypatch.setattr(scorecam, "upsampled", lambda m, size: images.upsampled(images.normalised(m), size))
    monkeypatch.setattr(scorecam, "normalised", lambda m: m)
    assert_same(ours("scorecam", "blocks.0", (112, 112)), torchcam(torchcam_methods.ScoreCAM, "blocks.0"))


@pytest.mark.slow  # tests/methods/test_formulas.py has the same loop on a small network
def test_ablationcam_is_the_naive_loop():
    """grad-cam's fills with a value that drifts through the batch, and divides by a signed score."""
    net, x = trained(), photographs()[:1]
    mine = ours("ablationcam", "blocks.0", (112, 112))[:1]
    original = []

    def run(channel):
        def ablate(_module, _args, output):
            if not original:
                original.append(output.clone())
            output = output.clone()
            if channel is not None:
                output[:, channel] = 0
            return output

        handle = net.blocks[0].register_forward_hook(ablate)
        with torch.no_grad():
            score = net(x)[0, predicted()[0]].double()
        handle.remove()
        return score

    whole = run(None)
    weights = torch.stack([(whole - run(k)) / whole.abs() for k in range(16)])
    expected = (weights[:, None, None] * original[0][0]).sum(0)
    assert_same(mine, expected[None])
    np.testing.assert_allclose(mine[0], expected, atol=1e-4 * float(expected.abs().max()))


STAGES = ["blocks.2", "blocks.4", "bn2"]


def test_peers_agree_on_refinecam():
    layers = [nchw(path, grid) for path, grid in zip(STAGES, ((28, 28), (14, 14), (7, 7)), strict=True)]
    options = ExplainOptions(method_options=["refinecam.base=gradcam"])
    found = Explainer(StandIn(trained(), size=224), layers, ["refinecam"], options)(
        photographs(), lambda z: z.argmax(1, keepdim=True), [0, 1]
    )
    mine = found.maps[MapKey("refinecam", tuple(STAGES), 0)]
    modules = [trained().get_submodule(path) for path in STAGES]
    refine = peer.RefineCAM(trained(), modules, base_method=peer.GradCAM)
    theirs = refine(photographs(), [ClassifierOutputTarget(c) for c in predicted()])
    for cam in refine.base_cam_per_layer:
        cam.activations_and_grads.release()
    assert_same(mine, theirs, tolerance=2e-3)


def plain() -> nn.Module:
    """The trained network in the modules that grad-cam supports: ReLU for ReLU6, batch-norm and activation apart."""
    net = copy.deepcopy(trained())
    for part in list(net.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                norm = nn.BatchNorm2d(child.num_features, eps=child.eps)
                norm.load_state_dict(child.state_dict())
                act = nn.ReLU() if isinstance(child.act, nn.ReLU6) else nn.Identity()
                setattr(part, name, nn.Sequential(norm, act))
    return net.eval()


def test_grad_cam_agrees_on_guided_backpropagation():
    module = plain()
    mine = ours("guidedbackprop", module=module)
    with torch.no_grad():
        classes = module(photographs()).argmax(1)
    guided = peer.GuidedBackpropReLUModel(module)
    theirs = [guided(photographs()[i : i + 1].clone(), int(classes[i])) for i in range(2)]
    assert_same(mine, np.abs(np.stack(theirs)).max(-1))


def test_grad_cam_agrees_on_fullgrad_once_channels_are_not_normalised_each(monkeypatch):
    def unscaled(tensor, size):
        summed = torch.from_numpy(np.ascontiguousarray(tensor)).sum(1, keepdim=True)
        return images.upsampled(summed, (size[1], size[0])).numpy()

    monkeypatch.setattr(peer.fullgrad_cam, "scale_accross_batch_and_channels", unscaled)
    module = plain()
    mine = ours("fullgrad", module=module)
    with torch.no_grad():
        classes = module(photographs()).argmax(1).tolist()
    seen = []
    with peer.FullGrad(module, []) as cam:
        inside = cam.compute_cam_per_layer
        cam.compute_cam_per_layer = lambda *a: seen.append(inside(*a)) or seen[-1]
        cam(photographs().clone(), [ClassifierOutputTarget(c) for c in classes])
    assert_same(mine, seen[0].reshape(2, -1, 224, 224).sum(1))


def test_torchcam_agrees_on_legrad():
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(64, 16, 4, 2, 24, 48, num_classes=10).eval()
    nn.init.normal_(net.heads.head.weight)
    inputs, classes = noise(2, size=64), [1, 7]
    layer = tokens("encoder.layers.encoder_layer_3.ln_1")
    found = Explainer(StandIn(net, size=64, num_classes=10), [layer], ["legrad"])(
        inputs, lambda _: torch.tensor(classes)[:, None], [0, 1]
    )
    with torchcam_methods.LeGrad(
        net, list(net.encoder.layers), score_projection=lambda t: net.heads(net.encoder.ln(t)[:, 0])
    ) as cam:
        scores = net(inputs.clone().requires_grad_())
        (theirs,) = cam(classes, scores, normalized=False)
    assert_same(found.maps[MapKey("legrad", None, 0)], theirs.detach())
