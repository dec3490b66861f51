"""Seg-Eigen-CAM: Chung and Ying 2025, doi 10.3390/app15137562, eq. 10 to 13."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.eigen import first_component


def segeigencam(p: Pass, _options: Options) -> Tensor:
    """Eigen-CAM of |g| ⊙ A; sign so that |max M| ≥ |min M|. Returns (N, h, w) float32, signed."""
    return first_component(p.g.abs() * p.activations, None)


METHOD = Method(
    "segeigencam", "Seg-Eigen-CAM", "Chung 2025, doi:10.3390/app15137562",
    "F+B", segeigencam, needs_gradients=True,
)  # fmt: skip
