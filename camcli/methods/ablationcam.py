"""Ablation-CAM: Desai and Ramaswamy 2020, WACV, eq. 2 and 3."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.options import Option

OPTIONS = (Option("fill", "zero", "what an ablated channel is filled with", choices=("zero", "mean")),)


def ablationcam(p: Pass, options: Options) -> Tensor:
    """w_k = (S − S with A_k ← fill) / |S|, the difference itself where S = 0; M = Σ_k w_k A_k.

    Args:
        p: targets (N, T).
        options: ``fill``: zero, or the mean over the channel's positions.

    Returns:
        (N, T, h, w) float32, signed.
    """
    activations = p.layer.activations()
    weights = p.each_image(lambda image: _weights(p, activations, image, options["fill"]))
    return p.weighted_sums(weights)


def _weights(p: Pass, activations: Tensor, image: int, fill: str) -> Tensor:
    """(T, K) of one image."""
    a, targets = activations[image], p.targets[image]
    channels = len(a)
    filling = a.mean((1, 2)) if fill == "mean" else a.new_zeros(channels)

    def run_ablated(part: slice) -> Tensor:
        # Trial 0 is the unaltered activation; trial k + 1 lacks channel k.
        maps = a.repeat(part.stop - part.start, 1, 1, 1)
        first = max(part.start, 1)
        ablated = maps[first - part.start :, first - 1 : part.stop - 1]
        ablated.diagonal().copy_(filling[first - 1 : part.stop - 1])  # (h, w, trials), channel k of trial k
        return maps

    scores = p.layer.trials(image, channels + 1, run_ablated, lambda z: p.score(z, targets.expand(len(z), -1)))
    whole = scores[:1]
    drop = whole - scores[1:]
    return torch.where(whole == 0, drop, drop / whole.abs()).T


METHOD = Method(
    "ablationcam", "Ablation-CAM", "Desai 2020, doi:10.1109/WACV45572.2020.9093360",
    "F+K T", ablationcam, weighted=True, targets_together=True, needs=("tail",), options=OPTIONS,
)  # fmt: skip
