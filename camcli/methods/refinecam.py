"""RefineCAM: 2026, arXiv 2605.14641: the maps of several layers multiplied."""

import torch
from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.finercam import BASES
from camcli.methods.images import normalised, upsampled
from camcli.methods.options import Option

_CHOICES = ("gradcam++", "gradcam", "xgradcam", "hirescam", "layercam")

OPTIONS = (Option("base", "gradcam++", "the method of each layer's map", choices=_CHOICES),)


def refinecam(p: Pass, options: Options) -> Tensor:
    """M = Π_l N01(U(relu(L_l))), L_l the base method's map of a layer.

    Returns (N, H, W) float32 in [0, 1].
    """
    size = (p.inputs.shape[2], p.inputs.shape[3])
    maps = (BASES[options["base"]](own, options) for own in p.layers)
    return torch.stack([normalised(upsampled(each.relu(), size)) for each in maps]).prod(0)


METHOD = Method(
    "refinecam", "RefineCAM", "2026, arXiv:2605.14641",
    "F+B", refinecam, needs_gradients=True, signed=False, scope="layers", options=OPTIONS,
)  # fmt: skip
