"""SS-CAM: Wang et al. 2020, arXiv 2006.14255."""

from collections.abc import Iterator

import torch
from torch import Tensor

from camcli.device import to_device
from camcli.methods.base import Method, Options, Pass, generator
from camcli.methods.options import Option
from camcli.methods.scorecam import OPTIONS as SCORECAM_OPTIONS
from camcli.methods.scorecam import approximation, weighted_by_masks

OPTIONS = (
    *SCORECAM_OPTIONS,
    Option("samples", 10, "noisy copies of each channel", kind=int, least=1),
    Option("std", 2.0, "deviation of the noise on the activations", kind=float, least=0),
)


def sscam(p: Pass, options: Options) -> Tensor:
    """s_k averaged over ``samples`` masks of A_k + N(0, ``std``²), noise of the image's own seed. Else as Score-CAM."""

    def noisy(image: int, a: Tensor) -> Iterator[tuple[Tensor, float]]:
        source = generator(p.seeds[image])
        for _ in range(options["samples"]):
            yield a + to_device(torch.randn(a.shape, generator=source), a.device) * options["std"], 1.0

    return weighted_by_masks(p, options, noisy)


METHOD = Method(
    "sscam", "SS-CAM", "Wang 2020, arXiv:2006.14255",
    "nK F", sscam, weighted=True, targets_together=True, needs=("scoring",), seeded=True, options=OPTIONS,
    cost_as_set="{samples}K F", approximate=approximation,
)  # fmt: skip
