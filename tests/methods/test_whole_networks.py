"""FullGrad, guided backpropagation and RefineCAM against their formulas; completeness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camcli.device import BatchLimit
from camcli.errors import MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey
from camcli.layers.layout import Layout
from camcli.methods.images import normalised, upsampled

from .networks import LayerAt, StandIn, Transformer, nchw, noise, random_net, seeded, tokens

ELSEWHERE = ("fullgrad", "guidedbackprop", "guidedgradcam", "refinecam")


def explain(method, net, inputs, targets, layers=None, **options):
    layers = layers or [nchw("body", (4, 4))]
    found = Explainer(StandIn(net), layers, [method], ExplainOptions(**options))(inputs, lambda _: targets, [0, 1, 2])
    return next(iter(found.maps.values()))


def written_out(net, pixels):
    """The network with a map for every bias, as a function of the maps: logits, the input and the maps."""
    net = net.double()
    x = pixels[None].double().requires_grad_()
    conv, norm = net.stem[0], net.stem[1]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    biases = []

    def biased(y, bias):
        biases.append((bias.detach()[None, :, None, None] * torch.ones_like(y)).detach().requires_grad_())
        return y + biases[-1]

    y = biased(F.conv2d(x, conv.weight, stride=2, padding=1), conv.bias)
    y = torch.relu(biased(y * scale[None, :, None, None], norm.bias - scale * norm.running_mean))
    y = torch.relu(biased(F.conv2d(y, net.body.weight, stride=2, padding=1), net.body.bias))
    y = torch.relu(biased(F.conv2d(y, net.after.weight, padding=1), net.after.bias))
    return net.head(y)[0], x, biases


def test_fullgrad_is_its_formula():
    inputs, targets = noise(3, seed=2), torch.tensor([[0], [3], [4]])
    found = explain("fullgrad", random_net(7), inputs, targets)
    for i in range(3):
        logits, x, biases = written_out(random_net(7), inputs[i])
        gradients = torch.autograd.grad(logits[targets[i, 0]], [x, *biases])
        expected = (x * gradients[0]).abs().sum(1)
        for bias, gradient in zip(biases, gradients[1:], strict=True):
            for channel in (bias * gradient).abs()[0]:
                expected = expected + upsampled(channel[None], (16, 16))
        np.testing.assert_allclose(found[i], expected[0].detach(), atol=1e-4 * float(expected.detach().max()))


def complete(net, inputs, targets, layers):
    """Σ x·∂S/∂x + Σ b·∂S/∂b of each image, and S."""
    from camcli.capture import freeze
    from camcli.explainer.access import Chunks, NetworkAccess
    from camcli.explainer.batch import Batch

    explainer = Explainer(StandIn(net, size=inputs.shape[2]), layers, ["fullgrad"])
    with freeze(net):
        batch = Batch(
            explainer._plan, inputs, [0] * len(inputs), torch.full((len(inputs),), -1), Chunks(1, BatchLimit(1)), None
        )
        pieces = NetworkAccess(batch.shared, targets, "fullgrad").biases()
    totals = [sum(part.flatten(1).sum(1) for part in (p.inputs, *p.maps, *p.vectors)) for p in pieces]
    return torch.cat(totals), batch.logits.gather(1, targets[:, None]).squeeze(1)


def relu_net(seed):
    net = random_net(seed)
    net.head[2] = nn.ReLU()
    return net


@pytest.mark.parametrize("seed", range(5))
def test_fullgrad_is_complete_on_networks_of_relus(seed):
    total, score = complete(relu_net(seed), noise(3, seed), torch.tensor([0, 1, 4]), [nchw("body", (4, 4))])
    assert torch.allclose(total, score, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "densenet121", "regnetx_002"])
def test_fullgrad_is_complete_on_architectures_of_relus(name):
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=5).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.bias, -0.3, 0.3)
            part.weight.data *= 0.3  # ReLU6 stays below 6, where its bound would be a bias of its own
    layer = {"resnet18": "layer4", "densenet121": "features.denseblock4"}.get(name)
    path = layer or ("bn2" if "lite" in name else "s4")
    inputs = noise(2, size=64)
    with torch.no_grad():
        seen = []
        handle = net.get_submodule(path).register_forward_hook(lambda m, i, out: seen.append(out.shape[2:]))
        net(inputs)
        handle.remove()
    total, score = complete(net, inputs, torch.tensor([0, 3]), [nchw(path, tuple(seen[0]))])
    assert torch.allclose(total, score, rtol=1e-3, atol=1e-4 * float(score.abs().max()))


class GuidedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0) * (gradient > 0)


def guided(net, pixels, target):
    net = net.double()
    x = pixels[None].double().requires_grad_()
    y = GuidedRelu.apply(net.stem[1](net.stem[0](x)))
    y = GuidedRelu.apply(net.after(GuidedRelu.apply(net.body(y))))
    net.head(y)[0, target].backward()
    return x.grad[0].abs().amax(0)


def test_guided_backpropagation_is_its_formula():
    inputs, targets = noise(3, seed=2), torch.tensor([[0], [3], [4]])
    found = explain("guidedbackprop", random_net(7), inputs, targets)
    for i in range(3):
        expected = guided(random_net(7), inputs[i], int(targets[i]))
        np.testing.assert_allclose(found[i], expected, atol=1e-4 * float(expected.detach().max()))


def test_guided_gradcam_is_the_product():
    inputs, targets = noise(3, seed=2), torch.tensor([[0], [3], [4]])
    product, plain, cam = (
        explain(m, random_net(7), inputs, targets) for m in ("guidedgradcam", "guidedbackprop", "gradcam")
    )
    assert torch.allclose(product, plain * upsampled(cam, (16, 16)), atol=1e-6)


@pytest.mark.parametrize("function", [torch.relu, F.relu, F.relu_, F.relu6, lambda x: x.clamp(min=0), nn.ReLU(True)])
def test_relus_are_found_however_they_are_written(function):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
            self.own = function if isinstance(function, nn.Module) else nn.Identity()

        def forward(self, x):
            y = self.body(x)
            return self.head((self.own(y) if isinstance(function, nn.Module) else function(y)).mean((2, 3)))

    net = seeded(Other)
    found = explain("guidedbackprop", net, noise(1), torch.tensor([[1]]), [nchw("body", (14, 14))])
    x = noise(1).requires_grad_()
    net.head(GuidedRelu.apply(net.body(x)).mean((2, 3)))[0, 1].backward()
    assert torch.allclose(found[0], x.grad[0].abs().amax(0), atol=1e-6)


@pytest.mark.parametrize("method", ["guidedbackprop", "guidedgradcam"])
def test_a_network_without_relus_is_refused(method):
    with pytest.raises(MethodError, match="gelu"):
        Explainer(StandIn(seeded(Transformer)), [tokens("blocks.1")], [method])


def test_a_detached_trunk_is_refused_by_methods_of_pixels():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = random_net()

        def forward(self, x):
            with torch.no_grad():
                y = self.net.stem(x)
            return self.net.head(self.net.act(self.net.after(self.net.act(self.net.body(y)))))

    with pytest.raises(MethodError, match=r"leaves autograd's graph by torch\.no_grad \(.*test_whole_networks\.py"):
        Explainer(StandIn(Detached()), [nchw("net.body", (4, 4))], ["fullgrad"])


def test_refinecam_multiplies_the_maps_of_the_stages():
    inputs, targets = noise(3, size=32), torch.tensor([[0], [3], [4]])
    model = StandIn(random_net(7), size=32)
    named = [nchw("stem", (16, 16)), nchw("after", (8, 8))]
    found = Explainer(model, named, ["refinecam", "gradcam++"])(inputs, lambda _: targets, [0, 1, 2]).maps
    expected = 1.0
    for layer in named:
        expected = expected * normalised(upsampled(found[MapKey("gradcam++", layer.path, 0)].relu(), (32, 32)))
    maps = found[MapKey("refinecam", ("stem", "after"), 0)]
    assert torch.allclose(maps, expected, atol=1e-5)


def test_refinecam_finds_the_stages_of_a_network():
    import timm

    from camcli.capture import Forward
    from camcli.explainer.stages import find_stages

    for name, path, expected in (
        ("resnet18", "layer4", ["layer1", "layer2", "layer3", "layer4"]),
        ("convnext_atto", "stages.3", ["stages.0", "stages.1", "stages.2", "stages.3"]),
        ("tf_efficientnet_lite0", "bn2", ["blocks.1", "blocks.2", "blocks.4", "bn2"]),
    ):
        net = timm.create_model(name).eval()
        stages = find_stages(Forward(net, lambda out: out), nchw(path, (4, 4)), torch.zeros(1, 3, 128, 128))
        assert [stage.path for stage in stages] == expected
        assert [stage.layout.grid for stage in stages] == [(32, 32), (16, 16), (8, 8), (4, 4)]


def test_refinecam_takes_no_windows_of_attention_for_a_stage():
    import timm

    from camcli.capture import Forward
    from camcli.explainer.stages import find_stages

    net = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=96, window_size=3, embed_dim=24, depths=(2, 2, 2, 2),
        num_heads=(2, 4, 8, 16),
    ).eval()  # fmt: skip
    for part in net.modules():
        part.fused_attn = False  # its matrices come out of a module: (images × windows, heads, tokens, tokens)
    layer = LayerAt("norm", Layout("nhwc", (3, 3)))
    stages = find_stages(Forward(net, lambda out: out), layer, torch.zeros(1, 3, 96, 96))
    assert [stage.layout.grid for stage in stages] == [(24, 24), (12, 12), (6, 6), (3, 3)]


def test_refinecam_on_a_network_of_one_grid_asks_for_layers():
    with pytest.raises(MethodError, match="--layer A --layer B"):
        Explainer(StandIn(seeded(Transformer)), [tokens("blocks.1")], ["refinecam"])
