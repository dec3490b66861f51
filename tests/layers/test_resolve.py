from __future__ import annotations

import pytest
import torch
import torchvision

from camcli.errors import LayerError
from camcli.layers import Layout, resolve_layers
from tests.layers.standin import standin, timm_standin


@pytest.mark.parametrize(
    ("name", "path", "layout"),
    [
        ("test_resnet", "layer4", Layout("nchw", (5, 5))),
        ("test_efficientnet", "bn2", Layout("nchw", (5, 5))),
        ("test_vit", "blocks.5.norm1", Layout("tokens", (10, 10), 1)),
    ],
)
def test_automatic_layer_follows_convention(name: str, path: str, layout: Layout) -> None:
    [layer] = resolve_layers(timm_standin(name), ["auto"])
    assert (layer.path, layer.layout, layer.proof, layer.requested) == (path, layout, "proven", "auto")


def test_explicit_layers_are_canonical_and_proven() -> None:
    model = standin(torchvision.models.resnet18(weights=None), 96)
    layers = resolve_layers(model, ["layer4[-1]", "layer3", "layer4.1"])
    assert [(layer.path, layer.requested) for layer in layers] == [("layer4.1", "layer4[-1]"), ("layer3", "layer3")]
    assert all(layer.proof == "proven" for layer in layers)
    assert layers[0].channels == 512


def test_a_module_that_runs_twice_is_refused_with_its_caller() -> None:
    model = standin(torchvision.models.resnet18(weights=None), 96)
    with pytest.raises(LayerError, match=r"runs 2 times per pass, called by layer4\.1.*A layer that works: layer"):
        resolve_layers(model, ["layer4.1.relu"])


def test_a_layer_without_gradient_is_refused_with_one_that_works() -> None:
    with pytest.raises(LayerError, match=r"no gradient.*A layer that works: blocks\.5\.norm1"):
        resolve_layers(timm_standin("test_vit"), ["blocks.5.norm2"])


def test_the_module_is_left_bit_for_bit() -> None:
    model = timm_standin("test_resnet")
    model.module.train()
    model.module.layer1.eval()
    next(model.module.parameters()).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    modes = [module.training for module in model.module.modules()]
    wants = [parameter.requires_grad for parameter in model.module.parameters()]
    random = torch.random.get_rng_state()
    resolve_layers(model, ["auto"])
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert modes == [module.training for module in model.module.modules()]
    assert wants == [parameter.requires_grad for parameter in model.module.parameters()]
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())
    assert torch.equal(random, torch.random.get_rng_state())
