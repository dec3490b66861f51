"""IS-CAM: Naidu et al. 2020, arXiv 2010.03023."""

from collections.abc import Iterator

from torch import Tensor

from camcli.methods.base import Method, Options, Pass
from camcli.methods.options import Option
from camcli.methods.scorecam import OPTIONS as SCORECAM_OPTIONS
from camcli.methods.scorecam import approximation, weighted_by_masks

OPTIONS = (*SCORECAM_OPTIONS, Option("samples", 10, "steps from nothing to the full mask", kind=int, least=1))


def iscam(p: Pass, options: Options) -> Tensor:
    """s_k averaged over i = 1 … n of S(x ⊙ (i/n) H_k) − S(0), n = ``samples``. Else as Score-CAM."""

    def stepped(_image: int, a: Tensor) -> Iterator[tuple[Tensor, float]]:
        for i in range(1, options["samples"] + 1):
            yield a, i / options["samples"]

    return weighted_by_masks(p, options, stepped)


METHOD = Method(
    "iscam", "IS-CAM", "Naidu 2020, arXiv:2010.03023",
    "nK F", iscam, weighted=True, targets_together=True, needs=("scoring",), options=OPTIONS,
    cost_as_set="{samples}K F", approximate=approximation,
)  # fmt: skip
