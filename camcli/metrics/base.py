"""How a metric describes itself, and what it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from torch import Tensor

from camcli.metrics.masking import masked_scores
from camcli.metrics.scoring import Scorer, score_all
from camcli.metrics.substrate import substrate
from camcli.stats import Finish, first

Better = Literal["higher", "lower", "neither"]
Needs = Literal["scores", "maps", "regions", "mosaics"]
Group = Literal["Perturbation curves", "Masking", "Localisation", "Complexity"]


@dataclass(frozen=True)
class Images:
    """A batch of images, with what the maps of all methods share; passes through the model are made on first use.

    Attributes:
        inputs: x, (N, C, H, W) normalised, on the model's device.
        classes: (N,) int64, the explained classes.
        seeds: one an image.
        regions: (N, H, W) bool, the object, empty where an image has no box or mask; None where none has.
        scorer: gives class probabilities.
        steps: intervals of a curve.
        batch: inputs scored at once.
        substrate: of the insertion and deletion curves, one of :data:`.SUBSTRATES`; None: the usual one of each.
    """

    inputs: Tensor
    classes: Tensor
    seeds: Sequence[int]
    regions: Tensor | None
    scorer: Scorer
    steps: int
    batch: int
    substrate: str | None = None
    _substrates: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def probabilities(self) -> Tensor:
        """Y = p_c(x), (N,)."""
        return self.score(self.inputs)

    def without_pixels(self, usual: str) -> tuple[Tensor, Tensor]:
        """The images without any pixel of their own, (N, C, H, W), and p_c of them, (N,).

        Args:
            usual: the substrate where none was asked for.
        """
        key = self.substrate or usual
        if key not in self._substrates:
            replaced = substrate(key, self.inputs, self.seeds)
            self._substrates[key] = replaced, self.score(replaced)
        return self._substrates[key]

    def score(self, inputs: Tensor) -> Tensor:
        """(N,) float32: the probability of each image's class for other inputs (N, C, H, W)."""
        return score_all(inputs, self.classes, self.scorer, self.batch)


@dataclass(frozen=True)
class Sample:
    """What a metric is given: the maps of one method for a batch of images.

    Attributes:
        images: the images.
        native: (N, h, w) float32, raw, on the grid of the target layer.
        maps: L, (N, H, W) in [0, 1], on the device of the inputs.
        explain: L of the same method and classes for other inputs (N, C, H, W).
        results: of :meth:`once`.
    """

    images: Images
    native: Tensor
    maps: Tensor
    explain: Callable[[Tensor], Tensor]
    results: dict[Measure, Tensor] = field(default_factory=dict)

    @cached_property
    def masked_probabilities(self) -> Tensor:
        """O = p_c(x ⊙ L), (N,)."""
        images = self.images
        return masked_scores(images.inputs, self.maps, images.classes, images.scorer, images.batch)

    def once(self, measure: Measure) -> Tensor:
        """What a metric gives for this sample, computed once: metrics that are made of others ask for them here."""
        if measure not in self.results:
            self.results[measure] = measure(self)
        return self.results[measure]

    @property
    def regions(self) -> Tensor:
        """The objects, (N, H, W) bool; for metrics that need regions."""
        assert self.images.regions is not None
        return self.images.regions


@dataclass(frozen=True)
class Exclusion:
    """Images for which a metric is not defined because of their own probability.

    Attributes:
        applies: from Y (N,) to (N,) bool.
        reason: which images, and what they do not enter; for people.
    """

    applies: Callable[[Tensor], Tensor]
    reason: str


Measure = Callable[[Sample], Tensor]
"""(N,) or (N, K) values of a sample, NaN where not defined."""

AcrossRows = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From the values of methods (M, N) and of baselines (B, N) on the same images to other values of the same shapes."""


@dataclass(frozen=True)
class Metric:
    """The description of a metric: one entry of :mod:`camcli.metrics.registry`.

    Attributes:
        key: what is typed.
        name: for people.
        paper: where it comes from.
        needs: what it is computed from: more passes through the model, the maps alone, boxes or masks, mosaics.
        group: tables are printed by group.
        measure: (N,) or (N, K) values of a sample, NaN where not defined. None: measured on mosaics, by the evaluation.
        better: which way is better; ``neither`` describes without judging.
        factor: from the mean to the figure; 100 for percentages.
        finish: from means over images to the figure, before the factor.
        by_default: whether it is computed without being asked for.
        headline: whether methods are compared in words by it, where no earlier entry of the table is.
        breaks_ties: whether it decides between methods that the headline metric does not tell apart.
        led_by: a baseline that has the best figure by construction, without explaining anything.
        settings: its parameters by name, for inputs of a height and width and the substrate that was asked for, if one
            was; they stand in the header of an evaluation.
        exclusion: images that do not enter.
        across_rows: for a metric that compares rows: its values from those that ``measure`` gave each row.
    """

    key: str
    name: str
    paper: str
    needs: Needs
    group: Group
    measure: Measure | None
    better: Better = "higher"
    factor: float = 1.0
    finish: Finish = first
    by_default: bool = True
    headline: bool = False
    breaks_ties: bool = False
    led_by: str | None = None
    settings: Callable[[int, int, str | None], Mapping[str, Any]] | None = None
    exclusion: Exclusion | None = None
    across_rows: AcrossRows | None = None

    @property
    def decimals(self) -> int:
        """Digits after the point in a table."""
        return 1 if self.factor == 100 else 3

    def as_json(self) -> dict[str, Any]:
        """Its entry under ``metrics`` in the document of ``cam eval``."""
        return {"key": self.key, "name": self.name, "better": self.better, "paper": self.paper, "percent": self.percent}

    @property
    def percent(self) -> bool:
        """Whether its figure is a percentage."""
        return self.factor == 100
