"""Random weights: a baseline that methods are compared with."""

import torch
from torch import Tensor

from camcli.device import to_device
from camcli.methods.base import Method, Options, Pass, generator


def randomcam(p: Pass, _options: Options) -> Tensor:
    """w_k ~ U(−1, 1), seeded per image; M = Σ_k w_k A_k. Returns (N, h, w) float32, signed."""
    channels = p.activations.shape[1]
    weights = torch.stack([torch.rand(channels, generator=generator(seed)) * 2 - 1 for seed in p.seeds])
    return p.weighted_sum(to_device(weights, p.activations.device))


METHOD = Method(
    "randomcam", "random weights", "a baseline",
    "F", randomcam, class_specific=False, weighted=True, baseline=True, seeded=True,
)  # fmt: skip
