"""RefineCAM: 2026, arXiv 2605.14641: the maps of several layers multiplied."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.finercam import BASES
from camcli.methods.options import Option

_CHOICES = ("gradcam++", "gradcam", "xgradcam", "hirescam", "layercam")

OPTIONS = (Option("base", "gradcam++", "the method of each layer's map", choices=_CHOICES),)


def refinecam(p: Pass, options: Options) -> Tensor:
    """The base method's map of one layer; M = Π_l N01(U(relu(L_l))) is taken of all of them.

    Returns (N, h, w) float32, signed.
    """
    return BASES[options["base"]](p, options)


METHOD = Method(
    "refinecam", "RefineCAM", "2026, arXiv:2605.14641",
    "F+B", refinecam, needs_gradients=True, signed=False, scope="layers", options=OPTIONS,
)  # fmt: skip
