"""Noisy linear imputation: removed pixels become the weighted mean of their neighbours (Rong 2022, arXiv:2202.00449).

Each removed pixel u_i satisfies Σ_j w_ij (u_i − v_j) = 0 over its neighbours inside the image, with w = 1/6 for direct
and 1/12 for diagonal ones; v_j is kept or removed as well. The rows are left undivided by Σ_j w_ij, so that the matrix
is symmetric and positive definite, and conjugate gradients solve all images of a batch at once, where they are. A large
hole would need hundreds of iterations; a multigrid cycle as preconditioner brings that to about ten: one Jacobi sweep
on each grid removes two thirds of every frequency that the next coarser grid cannot represent (the stencil's values lie
between 2/3 and 4/3 there).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from camcli.device import to_device
from camcli.errors import CamError

NOISE = 0.01
"""Deviation of the noise on imputed pixels, in normalised units: a smooth patch would reveal the mask itself."""
TOLERANCE = 2e-6
"""Residual at which the solver stops, as a share of the right-hand side; pixels are then right to 1e-4."""
_MOST = 200
_COARSEST = 4


def impute(inputs: Tensor, removed: Tensor, seeds: Sequence[int] | None = None, noise: float = NOISE) -> Tensor:
    """Fill the removed pixels in from the others.

    Args:
        inputs: (N, C, H, W).
        removed: (N, H, W) bool; at least one pixel of each image is kept.
        seeds: N, for the noise; None: without noise.

    Returns:
        (N, C, H, W): the inputs, with their removed pixels solved to 1e-4.
    """
    grids = _pyramid(removed)
    fine = grids[0]
    values = torch.where(removed[:, None], 0, inputs.float())
    # Starting from the mean of what is kept, the solver has only the deviations to find.
    count = (~removed).sum((1, 2)).clamp(min=1)[:, None, None, None]
    start = (values.sum((2, 3), keepdim=True) / count).expand_as(values) * fine.unknown
    solved = _solve(grids, _neighbours(values) * fine.unknown, start)
    if seeds is not None and noise:
        samples = [torch.randn(inputs.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        solved = solved + noise * to_device(torch.stack(samples), inputs.device)
    return torch.where(removed[:, None], solved, inputs.float())


@dataclass(frozen=True)
class _Grid:
    """One level: where it is unknown (N, 1, H, W; 1 or 0), and each cell's sum of weights."""

    unknown: Tensor
    weight: Tensor

    def apply(self, u: Tensor) -> Tensor:
        """A u, for u that is 0 where the pixels are kept."""
        return (self.weight * u - _neighbours(u)) * self.unknown


def _pyramid(removed: Tensor) -> list[_Grid]:
    unknown = removed[:, None].float()
    exists = torch.ones_like(unknown)
    grids = []
    while True:
        weight = _neighbours(exists)
        grids.append(_Grid(unknown, torch.where(unknown > 0, weight.clamp(min=1 / 12), 1)))
        height, width = unknown.shape[-2:]
        if min(height, width) <= _COARSEST:
            return grids
        pad = (0, width % 2, 0, height % 2)
        # Padding counts as unknown and as not existing, so that a cell at an odd edge depends on real cells only.
        # A coarse cell is unknown where all of its cells inside the image are.
        unknown, exists = F.pad(unknown, pad, value=1.0), F.pad(exists, pad)
        unknown, exists = -F.max_pool2d(-unknown, 2), F.max_pool2d(exists, 2)


def _neighbours(u: Tensor) -> Tensor:
    """Σ_j w_ij u_j over the eight neighbours; ([1 2 1]ᵀ[1 2 1] without its middle) / 12 is that stencil."""
    u = F.pad(u, (1, 1, 1, 1))
    rows = u[..., :-2] + u[..., 2:] + 2 * u[..., 1:-1]
    return (rows[..., :-2, :] + rows[..., 2:, :] + 2 * rows[..., 1:-1, :] - 4 * u[..., 1:-1, 1:-1]) / 12


def _solve(grids: list[_Grid], right: Tensor, u: Tensor) -> Tensor:
    """Conjugate gradients on the finest grid; images that have converged stay unchanged until all have."""
    fine = grids[0]
    goal = TOLERANCE**2 * _dot(right, right)
    r = right - fine.apply(u)
    z = _cycle(grids, 0, r)
    p, rz = z, _dot(r, z)
    for _ in range(_MOST):
        going = _dot(r, r) > goal
        if not going.any():
            return u
        ap = fine.apply(p)
        step = torch.where(going, rz / _dot(p, ap).clamp(min=1e-30), 0)
        u = u + step * p
        r = r - step * ap
        z = _cycle(grids, 0, r)
        before, rz = rz, _dot(r, z)
        p = z + rz / before.clamp(min=1e-30) * p
    raise CamError(f"the imputation of removed pixels did not converge in {_MOST} iterations: are the inputs finite?")


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(N, C, 1, 1): one system for every image and channel."""
    return (a * b).sum((2, 3), keepdim=True)


def _cycle(grids: list[_Grid], level: int, right: Tensor) -> Tensor:
    """One symmetric V-cycle from zero: sweep, correct from the coarser grid, sweep."""
    grid = grids[level]
    u = right / grid.weight * grid.unknown
    if level + 1 == len(grids):
        for _ in range(2 * _COARSEST):
            u = u + (right - grid.apply(u)) / grid.weight * grid.unknown
        return u
    coarser = grids[level + 1]
    residual = right - grid.apply(u)
    height, width = residual.shape[-2:]
    padded = F.pad(residual, (0, width % 2, 0, height % 2))
    down = F.avg_pool2d(padded, 2, divisor_override=1)
    up = _cycle(grids, level + 1, down * coarser.unknown)
    # Constant prolongation takes twice too much energy; the coarse grid keeps the fine stencil, which undoes that.
    u = u + F.interpolate(up, scale_factor=2, mode="nearest")[..., :height, :width] * grid.unknown
    return u + (right - grid.apply(u)) / grid.weight * grid.unknown
