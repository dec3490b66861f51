"""Replaying the tail gives what running the whole model again gives, on many families."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from camcli.capture import Forward, freeze, trace_tail
from camcli.errors import LayerError
from tests.methods.networks import noise, random_net


def torchvision_vit():
    return torchvision.models.VisionTransformer(64, 16, 3, 2, 24, 48, num_classes=10)


def swin():
    return timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2, depths=(1, 1, 2, 1))


def of_timm(name, **settings):
    return lambda: timm.create_model(name, **settings)


FAMILIES = {
    "resnet": (torchvision.models.resnet18, "layer4", 64),
    "resnet, inside a block": (torchvision.models.resnet18, "layer3.1.bn1", 64),
    "densenet": (of_timm("densenet121", block_config=(2, 3, 4, 3)), "features.denseblock3", 64),
    "inception-next": (of_timm("inception_next_atto"), "stages.2.blocks.1", 64),
    "squeezenet": (torchvision.models.squeezenet1_1, "features.9", 64),
    "shufflenet": (torchvision.models.shufflenet_v2_x0_5, "stage3", 64),
    "mobilenet": (of_timm("mobilenetv3_small_050"), "blocks.3", 64),
    "efficientnet": (of_timm("tf_efficientnet_lite0"), "blocks.5.1.conv_dw", 64),
    "regnet": (of_timm("regnety_002"), "s3.b2", 64),
    "convnext": (of_timm("convnext_atto"), "stages.2.blocks.3", 64),
    "vit": (of_timm("vit_tiny_patch16_224", img_size=64, depth=4), "blocks.3.norm1", 64),
    "torchvision vit": (torchvision_vit, "encoder.layers.encoder_layer_2.ln_1", 64),
    "swin": (swin, "layers.2.blocks.1.norm1", 64),
    "mixer": (of_timm("mixer_s32_224", img_size=64), "blocks.6.norm1", 64),
    "eva": (of_timm("eva02_tiny_patch14_224", img_size=56), "blocks.9.norm1", 56),
    "maxvit": (of_timm("maxvit_rmlp_pico_rw_256", img_size=64), "stages.2.blocks.0.conv", 64),
    "hrnet": (of_timm("hrnet_w18_small"), "stage3.0.branches.1", 64),
}


def built(family):
    make, path, size = FAMILIES[family]
    torch.manual_seed(0)
    net = make().eval()
    for name, parameter in net.named_parameters():
        if parameter.abs().max() == 0:
            nn.init.normal_(parameter, std=0.05)
        elif "bn" not in name and parameter.ndim == 1 and bool((parameter == 1e-6).all()):
            nn.init.constant_(parameter, 0.5)
    return net, path, size


@pytest.mark.parametrize("family", FAMILIES)
def test_replayed_is_run_again(family):
    net, path, size = built(family)
    with freeze(net), torch.no_grad():
        forward = Forward(net, lambda out: out)
        tail = trace_tail(forward, path, noise(3, size=size))
        assert tail.fallback is None
        inputs, memo = noise(4, seed=5, size=size), {}
        with tail.record(memo):
            forward(inputs)
        original = tail.original(memo)
        rows = original[2:3] if original.shape[0] == 4 else original.chunk(4)[2]
        altered = torch.cat([rows * factor for factor in (0.0, 0.5, -1.0)])
        replayed = tail.run(memo, inputs, altered, 2)
        naive = replace(tail, fallback="to compare").run(memo, inputs, altered, 2)
        assert (replayed - naive).abs().max() <= 1e-5 * naive.abs().max()
        assert not torch.allclose(naive[0], naive[1])


def test_only_used_outputs_are_recorded():
    net, path, size = built("resnet, inside a block")
    with freeze(net):
        tail = trace_tail(Forward(net, lambda out: out), path, noise(3, size=size))
    assert {path for path, _ in tail.used} == {"layer3.0", "layer3.1.bn1"}  # the shortcut, and the layer itself


class Awkward(nn.Module):
    """Functional code that writes in place, a module called before and behind the layer, a position bias."""

    def __init__(self, net):
        super().__init__()
        self.net, self.scale, self.bias = net, nn.PReLU(6), nn.Embedding(16, 8)

    def forward(self, x):
        x = self.scale(self.net.stem(x))
        side = F.relu_(self.net.body(x))
        side += self.bias(torch.arange(16)).T.reshape(8, 4, 4)
        y = self.net.after(side)
        return self.net.head(self.net.act(y) + self.scale(side[:, :6]).mean(1, keepdim=True))


def test_in_place_code_and_modules_called_again_are_replayed():
    net = Awkward(random_net())
    with freeze(net), torch.no_grad():
        forward = Forward(net, lambda out: out)
        tail = trace_tail(forward, "net.after", noise(3))
        assert tail.fallback is None
        inputs, memo = noise(2, seed=4), {}
        with tail.record(memo):
            expected = forward(inputs)
        altered = tail.original(memo)[1:].repeat(5, 1, 1, 1)
        for _ in range(2):  # a second time: nothing that was recorded was overwritten
            assert torch.allclose(tail.run(memo, inputs, altered, 1), expected[1].expand(5, -1), atol=1e-5)
            assert torch.allclose(tail.run(memo, inputs, altered[:1], 1), expected[1:], atol=1e-5)


class Storing(nn.Module):
    """Its prefix stores something that no module returns."""

    def __init__(self, net):
        super().__init__()
        self.net, self.prefix = net, Prefix(net)

    def forward(self, x):
        y = self.net.after(self.prefix(x))
        return self.net.head(y) * self.prefix.seen


class Prefix(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, None

    def forward(self, x):
        y = self.net.body(self.net.stem(x))
        self.seen = y.mean((1, 2, 3))[:, None]
        return y


def test_what_cannot_be_replayed_is_run_again_and_says_so():
    net = Storing(random_net())
    with freeze(net), torch.no_grad():
        forward = Forward(net, lambda out: out)
        tail = trace_tail(forward, "net.after", noise(3))
        assert "replaying the tail failed" in tail.fallback
        inputs, memo = noise(2), {}
        with tail.record(memo):
            expected = forward(inputs)
        found = tail.run(memo, inputs, tail.original(memo)[:1].repeat(3, 1, 1, 1), 0)
        assert torch.allclose(found, expected[0].expand(3, -1), atol=1e-5)


def test_the_module_is_left_as_it_was_found():
    net = random_net()
    own = net.head.forward
    net.head.__dict__["forward"] = own
    with freeze(net):
        trace_tail(Forward(net, lambda out: out), "body", noise(3))
    assert net.head.__dict__["forward"] is own
    assert all("forward" not in part.__dict__ for name, part in net.named_modules() if name != "head")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_a_layer_that_runs_twice_has_no_tail():
    net = random_net()
    with freeze(net), pytest.raises(LayerError, match="'act' runs 2 times"):
        trace_tail(Forward(net, lambda out: out), "act", noise(3))
