"""Recipro-CAM: Byun and Lee 2022, arXiv 2209.14074; for tokens ViT-ReciproCAM 2023, arXiv 2310.02588."""

from functools import lru_cache

import torch
from torch import Tensor

from camcli.device import to_device
from camcli.methods.base import Method, Options, Pass
from camcli.methods.options import Option

OPTIONS = (
    Option("mask", "gaussian", "what is left of the activation around a position", choices=("gaussian", "point")),
)

_BUMP = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))
"""A 3×3 Gaussian (binomial 1 2 1) with its peak at 1."""


def reciprocam(p: Pass, options: Options) -> Tensor:
    """M_ij = S(A ⊙ m_ij) − S(A ⊙ 0), m_ij a bump at (i, j); prefix tokens are kept.

    Args:
        p: targets (N, T).
        options: ``mask``: a 3×3 Gaussian or a single position.

    Returns:
        (N, T, h, w) float32, signed.
    """
    activations = p.layer.activations()
    height, width = activations.shape[2:]
    masks = to_device(bumps(height, width, options["mask"]), activations.device).to(activations.dtype)
    return p.each_image(lambda image: _map(p, activations, image, masks))


def _map(p: Pass, activations: Tensor, image: int, masks: Tensor) -> Tensor:
    a, targets = activations[image], p.targets[image]
    trials = torch.cat([masks.new_zeros(1, *masks.shape[1:]), masks])  # the first: nothing left
    scores = p.layer.trials(
        image, len(trials), lambda part: a * trials[part, None], lambda z: p.score(z, targets.expand(len(z), -1))
    )
    return (scores[1:] - scores[:1]).T.reshape(-1, *a.shape[1:])


@lru_cache(maxsize=4)
def bumps(height: int, width: int, mask: str) -> Tensor:
    """(h·w, h, w) float32: for each position, row by row, the mask around it, cut off at the border."""
    kernel = torch.tensor(_BUMP if mask == "gaussian" else ((0.0,) * 3, (0.0, 1.0, 0.0), (0.0,) * 3))
    masks = torch.zeros(height, width, height + 2, width + 2)
    for i in range(height):
        for j in range(width):
            masks[i, j, i : i + 3, j : j + 3] = kernel
    return masks[:, :, 1:-1, 1:-1].reshape(height * width, height, width)


METHOD = Method(
    "reciprocam", "Recipro-CAM", "Byun 2022, arXiv:2209.14074",
    "F+n T", reciprocam, targets_together=True, needs=("tail",), options=OPTIONS,
)  # fmt: skip
