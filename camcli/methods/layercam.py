"""LayerCAM: Jiang et al. 2021, IEEE TIP 30, eq. 3 to 5."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def layercam(p: Pass, _options: Options) -> Tensor:
    """M = Σ_k relu(g_k) ⊙ A_k. Returns (N, h, w) float32, signed where activations are."""
    return p.weighted_sum(p.g.relu())


METHOD = Method(
    "layercam", "LayerCAM", "Jiang 2021, doi:10.1109/TIP.2021.3089943",
    "F+B", layercam, needs_gradients=True, weighted=True, candidate=True, max_fusion_gamma=2.0,
)  # fmt: skip
