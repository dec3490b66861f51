"""FEM, feature-based explanation: Fuad et al. 2020, doi 10.1109/IPTA50016.2020.9286629."""

from torch import Tensor

from camcli.device import in_float64
from camcli.methods.base import Method, Options, Pass


def fem(p: Pass, _options: Options) -> Tensor:
    """w_k = share of positions with A_k > mean + 2·std (of the population); M = Σ_k w_k A_k.

    Returns (N, h, w) float32, signed where activations are.
    """
    a = in_float64(p.activations)
    # In float64: a single strong position among few others is at the threshold up to rounding.
    threshold = a.mean((2, 3), keepdim=True) + 2 * a.std((2, 3), keepdim=True, correction=0)
    return p.weighted_sum((a > threshold).float().mean((2, 3)).to(p.activations.device))


METHOD = Method(
    "fem", "FEM", "Fuad 2020, doi:10.1109/IPTA50016.2020.9286629",
    "F", fem, class_specific=False, weighted=True,
)  # fmt: skip
