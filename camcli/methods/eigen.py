"""First principal components with a sign, shared by the Eigen family and ``--eigen-smooth``."""

import torch
from torch import Tensor

from camcli.device import in_float64

_WEAK = 0.1  # a correlation below this does not determine the sign


def first_component(maps: Tensor, reference: Tensor | None) -> Tensor:
    """Projection of each position on the first principal direction of the channels.

    With the rows of X (n, K) the positions, columns centred: X v₁ = σ₁ u₁, v₁ and u₁ the first right and left
    singular vectors. It comes from the smaller of the two Gram matrices X Xᵀ (n, n) and Xᵀ X (K, K).

    Args:
        maps: (N, K, h, w).
        reference: (N, h, w) what the result should correlate with, see :func:`choose_sign`.

    Returns:
        (N, h, w) float32; NaN for an image whose maps are not finite.
    """
    rows, finite = centre_rows(maps)
    positions, channels = rows.shape[1:]
    # An eigendecomposition of 49 × 49 instead of a singular value decomposition of 49 × 2048, and in float64, since
    # squaring the matrix squares its condition number.
    if positions <= channels:
        values, vectors = torch.linalg.eigh(rows @ rows.transpose(1, 2))
        scores = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(rows.transpose(1, 2) @ rows)
        scores = (rows @ vectors[:, :, -1:]).squeeze(2)
    return signed_maps(scores, finite, reference, maps)


def centre_rows(maps: Tensor) -> tuple[Tensor, Tensor]:
    """X (N, n, K) float64, columns centred, of maps (N, K, h, w), 0 where those are not finite; and which are, (N,)."""
    rows = in_float64(maps.flatten(2).transpose(1, 2))
    finite = torch.isfinite(rows).flatten(1).all(1)
    rows = torch.where(finite[:, None, None], rows, 0.0)
    return rows - rows.mean(1, keepdim=True), finite


def signed_maps(scores: Tensor, finite: Tensor, reference: Tensor | None, maps: Tensor) -> Tensor:
    """Scores (N, n) with the sign of :func:`choose_sign` as (N, h, w) float32, NaN where the maps are not finite."""
    component = choose_sign(scores, None if reference is None else in_float64(reference.flatten(1)))
    component = torch.where(finite[:, None], component, torch.nan)
    return component.reshape(len(maps), *maps.shape[2:]).to(maps.device, torch.float32)


def choose_sign(scores: Tensor, reference: Tensor | None) -> Tensor:
    """The same maps, each with the sign by which high values mean important positions.

    A component's sign is arbitrary. It is chosen so that the map correlates positively with the reference; where that
    correlation is below 0.1, or without a reference, so that \\|max\\| ≥ \\|min\\|.

    Args:
        scores: (N, n).
        reference: (N, n) or None.
    """
    flip = scores.amin(1).abs() > scores.amax(1).abs()
    if reference is not None:
        agreement = correlation(scores, reference)
        flip = torch.where(agreement.abs() < _WEAK, flip, agreement < 0)
    return torch.where(flip[:, None], -scores, scores)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each row, (N,); 0 where a row is constant or not finite."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    length = a.norm(dim=1) * b.norm(dim=1)
    return torch.nan_to_num(torch.where(length > 0, (a * b).sum(1) / length, 0.0))
