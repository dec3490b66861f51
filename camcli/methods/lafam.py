"""LaFAM: Karjauv and Albayrak 2024, arXiv 2407.06059."""

from torch import Tensor

from camcli.methods.base import Method, Options, Pass


def lafam(p: Pass, _options: Options) -> Tensor:
    """M = mean_k A_k. Returns (N, h, w) float32, signed where activations are."""
    return p.activations.mean(1)


METHOD = Method("lafam", "LaFAM", "Karjauv 2024, arXiv:2407.06059", "F", lafam, class_specific=False)
