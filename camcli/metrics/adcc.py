"""ADCC: one figure of coherency, complexity and average drop."""

import torch
from torch import Tensor

from camcli.device import in_float64
from camcli.metrics import drop
from camcli.metrics.base import Metric, Sample


def adcc(drop: Tensor, maps: Tensor, again: Tensor) -> Tensor:
    """3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)) in [0, 1], higher is better (Poppi 2021, arXiv:2104.10252).

    Args:
        drop: (N,), relu(Y − O)/Y.
        maps: L, (N, H, W) in [0, 1].
        again: the same method's L for x ⊙ L, (N, H, W) in [0, 1].

    Returns:
        (N,) float32; 0 where one of the three is 0, NaN where the drop is.
    """
    parts = torch.stack([coherency(maps, again), 1 - complexity(maps), 1 - drop])
    return torch.where(parts.isnan().any(0), torch.nan, 3 / (1 / parts.clamp(min=0)).sum(0))


def coherency(maps: Tensor, again: Tensor) -> Tensor:
    """(Pearson(L, L of x ⊙ L) + 1) / 2 in [0, 1], (N,); ½ where one of the maps is constant, as for no correlation."""
    flat = [in_float64(m.flatten(1)) for m in (maps, again)]
    a, b = (m - m.mean(1, keepdim=True) for m in flat)
    scale = a.norm(dim=1) * b.norm(dim=1)
    pearson = torch.where(scale > 0, (a * b).sum(1) / scale.clamp(min=1e-300), 0.0)
    return ((pearson.clamp(-1, 1) + 1) / 2).to(maps.device, torch.float32)


def complexity(maps: Tensor) -> Tensor:
    """The mean of L, (N,)."""
    return maps.flatten(1).mean(1)


def of_sample(sample: Sample) -> Tensor:
    """:func:`adcc` of a sample, (N,); the masked inputs are explained once more."""
    again = sample.explain(sample.images.inputs * sample.maps[:, None])
    return adcc(sample.once(drop.drop), sample.maps, again)


METRIC = Metric("adcc", "ADCC", "Poppi 2021, arXiv:2104.10252", "scores", "Masking", of_sample, headline=True)
