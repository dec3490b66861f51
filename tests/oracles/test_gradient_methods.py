"""Methods of activations and gradients against grad-cam and torchcam."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam as peer
from torch import nn
from torchcam import methods as torchcam_methods

from .peers import grad_cam, torchcam
from .trained import TOLERANCE, assert_same, normalised, ours, trained

GRAD_CAM = {
    "gradcam": peer.GradCAM,
    "xgradcam": peer.XGradCAM,
    "hirescam": peer.HiResCAM,
    "gradcamelementwise": peer.GradCAMElementWise,
    "layercam": peer.LayerCAM,
}
TORCHCAM = {
    "gradcam": torchcam_methods.GradCAM,
    "xgradcam": torchcam_methods.XGradCAM,
    "layercam": torchcam_methods.LayerCAM,
}


@pytest.mark.parametrize("method", GRAD_CAM)
def test_grad_cam_agrees(method):
    assert_same(ours(method), grad_cam(GRAD_CAM[method]))


@pytest.mark.parametrize("method", TORCHCAM)
def test_torchcam_agrees(method):
    assert_same(ours(method), torchcam(TORCHCAM[method]))


@pytest.mark.parametrize(("method", "kind"), [("eigencam", peer.EigenCAM), ("eigengradcam", peer.EigenGradCAM)])
def test_grad_cam_agrees_up_to_the_sign_it_leaves_to_chance(method, kind):
    mine, theirs = ours(method).numpy(), grad_cam(kind)
    for a, b in zip(mine, theirs, strict=True):
        b = b * np.sign(np.vdot(a, b))
        np.testing.assert_allclose(a / np.ptp(a), b / np.ptp(b), atol=1e-3)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_grad_cam_agrees_on_eigen_smooth_up_to_the_sign(method):
    mine, theirs = ours(method, eigen_smooth=True).numpy(), grad_cam(GRAD_CAM[method], eigen_smooth=True)
    for a, b in zip(mine, theirs, strict=True):
        b = b * np.sign(np.vdot(a, b))
        np.testing.assert_allclose(a / np.ptp(a), b / np.ptp(b), atol=1e-3)


class Louder(nn.Module):
    """The model with its logits multiplied by 100."""

    def __init__(self):
        super().__init__()
        self.net = trained()

    def forward(self, x):
        return self.net(x) * 100


def test_grad_cam_plus_plus_agrees_where_its_constant_is_small_against_the_gradients():
    """grad-cam adds 1e-6 to a denominator of the size of g²; with larger gradients the two become the same."""
    mine, theirs = ours("gradcam++"), grad_cam(peer.GradCAMPlusPlus)
    assert np.abs(normalised(mine) - normalised(theirs)).max() > TOLERANCE
    mine = ours("gradcam++", "net.bn2", module=Louder())
    assert_same(mine, grad_cam(peer.GradCAMPlusPlus, "net.bn2", module=Louder()))
