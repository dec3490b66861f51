"""RISE: Petsiuk et al. 2018, arXiv 1806.07421, eq. 6; masks as in section 3.2."""

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.device import to_device
from camcli.methods.base import Method, Options, Pass, generator
from camcli.methods.options import Option
from camcli.methods.score import probabilities

OPTIONS = (
    Option("masks", 1000, "random masks an image", kind=int, least=1),
    Option("grid", 7, "cells of a mask a side", kind=int, least=2),
    Option("p", 0.5, "share of cells that are kept", kind=float, least=0.01, most=0.99),
)

_TOGETHER = 64  # masks that are summed up at once


def rise(p: Pass, options: Options) -> Tensor:
    """M = Σ_m p_c(x ⊙ m) · m / (E[m] · N), m random grids, upsampled and shifted, seeded per image.

    Args:
        p: targets (N, T).
        options: ``masks`` N, ``grid``, ``p`` = E[m].

    Returns:
        (N, T, H, W) float32, non-negative.
    """
    return p.each_image(lambda image: _map(p, options, image))


def _map(p: Pass, options: Options, image: int) -> Tensor:
    x, targets = p.inputs[image], p.targets[image]
    grids, shifts = random_grids(p.seeds[image], options)
    grids = to_device(grids, x.device)

    def masks(part: slice) -> Tensor:
        return shift_and_crop(grids[part], shifts[part], (x.shape[1], x.shape[2]))

    def reduce(logits: Tensor) -> Tensor:
        return probabilities(logits, p.score.link)[:, targets]

    scores = p.network.trials(options["masks"], lambda part: x * masks(part)[:, None], reduce)
    total = torch.zeros(targets.numel(), *x.shape[1:], device=x.device)
    for start in range(0, len(grids), _TOGETHER):  # built again rather than kept: a thousand take 200 MB
        part = slice(start, min(start + _TOGETHER, len(grids)))
        total += torch.einsum("mt,mhw->thw", scores[part], masks(part))
    expected: float = options["p"] * options["masks"]
    return total / expected


def random_grids(seed: int, options: Options) -> tuple[Tensor, Tensor]:
    """(N, g, g) of 0 and 1, and shifts (N, 2) in [0, 1)."""
    source, cells = generator(seed), options["grid"]
    grids = (torch.rand(options["masks"], cells, cells, generator=source) < options["p"]).float()
    return grids, torch.rand(options["masks"], 2, generator=source)


def shift_and_crop(grids: Tensor, shifts: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) in [0, 1]: each grid upsampled to one cell more than the image, cut out at its shift."""
    cells = grids.shape[1]
    height, width = (-(-side // cells) for side in size)
    large = F.interpolate(
        grids[:, None], ((cells + 1) * height, (cells + 1) * width), mode="bilinear", align_corners=False
    )[:, 0]
    return torch.stack([
        mask[int(dy * height) :, int(dx * width) :][: size[0], : size[1]]
        for mask, (dy, dx) in zip(large, shifts.tolist(), strict=True)
    ])  # fmt: skip


METHOD = Method(
    "rise", "RISE", "Petsiuk 2018, arXiv:1806.07421",
    "1000F", rise, signed=False, scope="network", targets_together=True, needs=("scoring",), seeded=True,
    options=OPTIONS,
    cost_as_set="{masks}F",
)  # fmt: skip
