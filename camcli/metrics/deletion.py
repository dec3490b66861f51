"""Deletion: how fast the class probability falls when the pixels that the map ranks first are removed."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from camcli.metrics.base import Metric, Sample
from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer

USUAL = "zero"
"""The substrate of the paper."""


def deletion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    end: Tensor | None = None,
    **options: Unpack[CurveOptions],
) -> Curve:
    """The deletion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a small area is good.

    With x_k the input whose first k/steps of the highest pixels of L are those of the substrate, the area under
    p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the inputs to the
            substrate.
        end: the substrate, (N, C, H, W); None: 0, the mean colour in normalised space.
    """
    return replacement_curve(
        inputs, torch.zeros_like(inputs) if end is None else end, maps, classes, scorer, seeds, **options
    )


def area(sample: Sample) -> Tensor:
    """The area under the deletion curve, (N,); the ends of the curve are shared by all maps of the same images."""
    images = sample.images
    end, last = images.without_pixels(USUAL)
    return deletion(
        images.inputs, sample.maps, images.classes, images.scorer, images.seeds,
        steps=images.steps, end=end, ends=(images.probabilities, last), batch=images.batch,
    ).area  # fmt: skip


def settings(_height: int, _width: int, substrate: str | None) -> dict[str, Any]:
    """What deleted pixels become; a value that is the same for all of them in normalised units."""
    key = substrate or USUAL
    return {"deletion": {"substrate": key, "replaced_by": 0.0 if key == "zero" else None}}


METRIC = Metric(
    "deletion", "Deletion", "Petsiuk 2018, arXiv:1806.07421", "scores", "Perturbation curves", area, better="lower",
    settings=settings,
)  # fmt: skip
