"""Attention made visible in the models of others: the same logits, and the matrices of every block."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from camcli.capture import Forward, freeze
from camcli.capture.attention_matrices import attention_pass, find_blocks
from camcli.errors import MethodError
from camcli.explainer import Explainer
from tests.methods.networks import StandIn, noise, seeded, tokens


def vit(name, **settings):
    return lambda: timm.create_model(name, img_size=64, depth=3, num_classes=10, **settings)


def torchvision_vit():
    return torchvision.models.VisionTransformer(64, 16, 3, 2, 24, 48, num_classes=10)


GRID = tuple(range(16))
MODELS = {  # prefix tokens, path of the blocks, tokens that the score is read from
    "vit": (vit("vit_tiny_patch16_224"), 1, "blocks.", (0,)),
    "vit, not fused": (vit("vit_tiny_patch16_224"), 1, "blocks.", (0,)),
    "mean of tokens": (vit("vit_tiny_patch16_224", global_pool="avg", class_token=False), 0, "blocks.", GRID),
    "distilled": (vit("deit_tiny_distilled_patch16_224"), 2, "blocks.", (0, 1)),
    "registers, mean": (vit("vit_wee_patch16_reg1_gap_256"), 1, "blocks.", tuple(range(1, 17))),
    "relative positions": (vit("vit_relpos_small_patch16_224"), 0, "blocks.", GRID),
    "rotary": (vit("eva02_tiny_patch14_224", patch_size=16), 1, "blocks.", tuple(range(1, 17))),
    "talking heads": (vit("cait_xxs24_224", init_values=1.0), 0, "blocks.", GRID),
    "torchvision": (torchvision_vit, 1, "encoder.layers.encoder_layer_", (0,)),
}


def built(name):
    make, prefix, path, readout = MODELS[name]
    net = seeded(make)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for part in net.parameters():
            if part.abs().max() == 0:
                nn.init.normal_(part, std=0.05)
    if name == "vit, not fused":
        for block in net.blocks:
            block.attn.fused_attn = False
    return net, prefix, path, readout


@pytest.mark.parametrize("name", MODELS)
def test_every_matrix_is_seen_and_nothing_is_changed(name):
    net, prefix, path, readout = built(name)
    inputs = noise(2, size=64)
    with freeze(net):
        forward = Forward(net, lambda out: out)
        expected = forward(inputs).detach()
        blocks = find_blocks(forward, inputs, 16 + prefix, prefix)
        run = attention_pass(forward, inputs, blocks)
        after = forward(inputs)
    assert blocks.paths == tuple(f"{path}{i}" for i in range(3))
    assert blocks.readout == readout
    assert torch.allclose(run.logits, expected, atol=1e-5 * float(expected.abs().max()))
    assert all(torch.allclose(m.sum(-1), torch.ones(()), atol=1e-5) for m in run.matrices)
    assert all(tokens.shape[:2] == (2, 16 + prefix) for tokens in run.outputs)
    assert torch.equal(after, expected)
    assert all("forward" not in vars(part) for part in net.modules())


@pytest.mark.parametrize("name", MODELS)
def test_every_method_of_attention_gives_a_map(name):
    net, prefix, path, _ = built(name)
    for part in net.parameters():  # far from the small start values, where gradients drown next to the identity
        part.requires_grad_(False).mul_(2)
    layer = tokens(path + "2" + (".ln_1" if name == "torchvision" else ".norm1"), prefix)
    found = Explainer(StandIn(net, size=64, num_classes=10), [layer], ["rollout", "chefer", "legrad"])(
        noise(2, size=64), lambda z: z.argmax(1, keepdim=True), [0, 1]
    )
    for maps in found.maps.values():
        assert maps.shape == (2, 4, 4)
        assert (maps.amax((1, 2)) > maps.amin((1, 2))).all()


def test_several_matrices_in_a_block_are_refused():
    net = timm.create_model("convit_tiny", img_size=64).eval()
    with pytest.raises(MethodError, match="several attention matrices"):
        Explainer(StandIn(net, size=64, num_classes=1000), [tokens("blocks.9.norm1", 0)], ["rollout"])
