"""RefineCAM: 2026, arXiv 2605.14641: the maps of several layers multiplied."""

from collections.abc import Mapping

from torch import Tensor

from camcli.methods.base import Compute, Method, Options, Pass
from camcli.methods.gradcam import gradcam
from camcli.methods.gradcampp import gradcampp
from camcli.methods.hirescam import hirescam
from camcli.methods.layercam import layercam
from camcli.methods.options import Option
from camcli.methods.xgradcam import xgradcam

_BASES: Mapping[str, Compute] = {
    "gradcam++": gradcampp, "gradcam": gradcam, "xgradcam": xgradcam, "hirescam": hirescam, "layercam": layercam,
}  # fmt: skip

OPTIONS = (Option("base", "gradcam++", "the method of each layer's map", choices=tuple(_BASES)),)


def refinecam(p: Pass, options: Options) -> Tensor:
    """The base method's map of one layer; M = Π_l N01(U(relu(L_l))) is taken of all of them.

    Returns (N, h, w) float32, signed.
    """
    return _BASES[options["base"]](p, options)


METHOD = Method(
    "refinecam", "RefineCAM", "2026, arXiv:2605.14641",
    "F+B", refinecam, needs_gradients=True, signed=False, scope="layers", options=OPTIONS,
)  # fmt: skip
