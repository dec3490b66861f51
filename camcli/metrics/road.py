"""ROAD: remove the most or the least relevant pixels, and impute them so that no hole shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from camcli.metrics.base import Metric, Sample
from camcli.metrics.impute import NOISE, impute
from camcli.metrics.order import pixel_ranks
from camcli.metrics.scoring import BATCH, Scorer, score_changed

FRACTIONS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Road:
    """Probabilities after removal.

    Attributes:
        morf: (N, K), the most relevant fraction removed; low is good.
        lerf: (N, K), the least relevant fraction removed; high is good.
    """

    morf: Tensor
    lerf: Tensor

    @property
    def combined(self) -> Tensor:
        """(N,): (LeRF − MoRF) / 2, mean over the fractions, in [−½, ½]; higher is better."""
        return ((self.lerf - self.morf) / 2).mean(1)


def road(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    fractions: Sequence[float] = FRACTIONS,
    batch: int = BATCH,
) -> Road:
    """Remove and debias (Rong 2022, arXiv:2202.00449).

    Exactly the given fractions of the pixels are removed, by rank of L, and imputed with noise
    (:mod:`camcli.metrics.impute`).

    Args:
        inputs: (N, C, H, W), normalised.
        maps: L, (N, H, W) in [0, 1].
        classes: (N,) int64, the class that each map explains.
        scorer: gives class probabilities.
        seeds: N, for the noise and for the order of equal values of L.
        fractions: shares of the pixels that are removed.
        batch: inputs imputed and scored at once.
    """
    ranks = pixel_ranks(maps, seeds)

    def imputed(i: Tensor, removed: Tensor) -> Tensor:
        return impute(inputs[i], removed, [seeds[n] for n in i.tolist()])

    def scores(order: Tensor) -> Tensor:
        return score_changed(order, fractions, classes, scorer, imputed, batch)

    least_first = ranks.shape[1] * ranks.shape[2] - 1 - ranks
    return Road(morf=scores(ranks), lerf=scores(least_first))


def of_sample(sample: Sample) -> Tensor:
    """:attr:`Road.combined` of a sample, (N,)."""
    images = sample.images
    args = images.inputs, sample.maps, images.classes, images.scorer, images.seeds
    return road(*args, batch=images.batch).combined


def settings(_height: int, _width: int, _substrate: str | None) -> dict[str, Any]:
    """Which shares of the pixels are removed, and the noise on what is imputed."""
    return {"road": {"fractions": list(FRACTIONS), "noise": NOISE}}


METRIC = Metric(
    "road", "ROAD", "Rong 2022, arXiv:2202.00449", "scores", "Perturbation curves", of_sample, by_default=False,
    headline=True, settings=settings,
)  # fmt: skip
