"""HiResCAM: Draelos and Carin 2020, arXiv 2011.08891, eq. 4."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def hirescam(p: Pass, _options: Options) -> Tensor:
    """M = Σ_k g_k ⊙ A_k. Returns (N, h, w) float32, signed."""
    return p.weighted_sum(p.g)


METHOD = Method(
    "hirescam", "HiResCAM", "Draelos 2020, arXiv:2011.08891",
    "F+B", hirescam, needs_gradients=True, weighted=True, candidate=True,
)  # fmt: skip
