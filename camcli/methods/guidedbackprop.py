"""Guided backpropagation: Springenberg et al. 2015, arXiv 1412.6806."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def guidedbackprop(p: Pass, _options: Options) -> Tensor:
    """M = max_channel |∂S/∂x|, negative gradients stopped at every ReLU. Returns (N, H, W) float32, non-negative."""
    return p.network.guided_gradient().abs().amax(1)


METHOD = Method(
    "guidedbackprop", "guided backpropagation", "Springenberg 2015, arXiv:1412.6806",
    "F+B to the input", guidedbackprop, signed=False, scope="network", needs=("network gradient", "relu"),
)  # fmt: skip
