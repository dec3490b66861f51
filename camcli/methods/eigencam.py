"""Eigen-CAM: Muhammad and Yeasin 2020, arXiv 2008.00299."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.eigen import first_component


def eigencam(p: Pass, _options: Options) -> Tensor:
    """M = X v₁, X the positions × channels of A, columns centred; sign by Σ_k |A_k|. Returns (N, h, w) float32, signed.

    Σ_k A_k itself would give the wrong sign on layers whose activations are largely negative.
    """
    return first_component(p.activations, p.activations.abs().sum(1))


METHOD = Method(
    "eigencam", "Eigen-CAM", "Muhammad 2020, arXiv:2008.00299",
    "F", eigencam, class_specific=False, candidate=True,
)  # fmt: skip
