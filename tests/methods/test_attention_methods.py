"""Rollout, Chefer's method and LeGrad against their formulas, for attention however a model computes it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from camcli.errors import MethodError
from camcli.explainer import Explainer, ExplainOptions, MapKey

from .networks import StandIn, Transformer, nchw, noise, random_net, seeded, tokens

KINDS = ["plain", "fused", "multihead"]


class Written:
    """The transformer once more, with every attention matrix a tensor of its own."""

    def __init__(self, net: Transformer) -> None:
        self.net = net.double()

    def run(self, pixels):
        """Attention matrices (heads, tokens, tokens), tokens behind each block, logits."""
        net = self.net
        x = net.patch(pixels[None].double()).flatten(2).transpose(1, 2)
        x = (torch.cat([net.prefix, x], 1) + net.position)[0]
        matrices, outputs = [], []
        for block in net.blocks:
            h = block.norm1(x)
            q, k, v = (h @ block.own.in_proj_weight.T + block.own.in_proj_bias).chunk(3, 1)
            heads, mixed = [], []
            for i in range(block.heads):
                part = slice(i * 8, i * 8 + 8)
                heads.append(torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(8), 1))
            matrix = torch.stack(heads)
            matrix.retain_grad()
            matrices.append(matrix)
            mixed = torch.cat([matrix[i] @ v[:, i * 8 : i * 8 + 8] for i in range(block.heads)], 1)
            x = x + mixed @ block.own.out_proj.weight.T + block.own.out_proj.bias
            x = x + block.mlp(block.norm2(x))
            outputs.append(x)
        return matrices, outputs, self.read(x)

    def read(self, x):
        x = self.net.norm(x)
        return self.net.head(x[0] if self.net.class_token else x.mean(0))

    @property
    def rows(self):
        return [0] if self.net.class_token else list(range(16))

    def on_grid(self, relevance):
        return relevance[-16:].reshape(4, 4).detach().numpy()


def rollout(written, pixels, target):
    total = torch.eye(16 + int(written.net.class_token), dtype=torch.float64)
    for matrix in written.run(pixels)[0]:
        mixed = matrix.mean(0) + torch.eye(len(total))
        total = (mixed / mixed.sum(1, keepdim=True)) @ total
    return written.on_grid(total[written.rows].mean(0))


def chefer(written, pixels, target):
    matrices, _, logits = written.run(pixels)
    logits[target].backward()
    total = torch.eye(16 + int(written.net.class_token), dtype=torch.float64)
    for matrix in matrices:
        total = total + (matrix.grad * matrix).clamp(min=0).mean(0) @ total
    return written.on_grid(total[written.rows].mean(0))


def legrad(written, pixels, target):
    total = 0
    for layer in range(3):
        matrices, outputs, _ = written.run(pixels)
        written.read(outputs[layer])[target].backward()
        total = total + matrices[layer].grad.clamp(min=0).mean((0, 1))
    return written.on_grid(total)


ATTENTION = {"rollout": rollout, "chefer": chefer, "legrad": legrad}


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ATTENTION)
def test_method_is_its_formula(method, kind, class_token):
    def make():
        return Transformer(kind, class_token)

    inputs, targets = noise(2, seed=4), torch.tensor([[1], [3]])
    layers = [tokens("blocks.1", int(class_token))]
    maps = Explainer(StandIn(seeded(make)), layers, [method])(inputs, lambda _: targets, [0, 1]).maps
    for i in range(2):
        expected = ATTENTION[method](Written(seeded(make)), inputs[i], int(targets[i]))
        found = maps[MapKey(method, None, 0)][i].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_attention_methods_and_others_share_a_run(kind):
    methods = ["gradcam", "rollout", "chefer", "legrad", "ablationcam", "shapleycam", "reciprocam"]
    net = seeded(lambda: Transformer(kind))
    layers = [tokens("blocks.2"), tokens("blocks.1")]
    found = Explainer(StandIn(net), layers, methods)(noise(2), lambda z: z.argsort(1)[:, :2], [0, 1])
    assert {key.layer for key in found.maps if key.method in ATTENTION} == {None}
    for method in ATTENTION:
        single = Explainer(StandIn(net), layers, [method])(noise(2), lambda z: z.argsort(1)[:, 1:2], [0, 1])
        second = found.maps[MapKey(method, None, 1)]
        assert torch.allclose(second, single.maps[MapKey(method, None, 0)], atol=1e-6)


@pytest.mark.parametrize("method", ATTENTION)
def test_a_model_without_attention_is_refused_with_what_works(method):
    with pytest.raises(MethodError, match="gradcam"):
        Explainer(StandIn(random_net()), [nchw("body", (4, 4))], [method])


def test_tokens_without_attention_over_all_of_them_are_refused():
    class Mixer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = seeded(Transformer)
            self.net.blocks = torch.nn.ModuleList([torch.nn.Linear(16, 16)])

        def forward(self, x):
            return self.net(x)

    with pytest.raises(MethodError, match="no attention matrix"):
        Explainer(StandIn(Mixer()), [tokens("net.blocks.0")], ["rollout"])


def test_half_precision_gives_maps_close_by():
    net, layers = seeded(Transformer), [tokens("blocks.1")]
    exact, half = (
        Explainer(StandIn(net), layers, list(ATTENTION), ExplainOptions(precision=p))(
            noise(2), lambda _: torch.tensor([[1], [1]]), [0, 1]
        )
        for p in ("fp32", "bf16")
    )
    for key, maps in exact.maps.items():
        assert (maps - half.maps[key]).abs().max() < 0.1 * maps.abs().max()
