"""Deletion: how fast the class probability falls when the pixels that the map ranks first are removed."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from camcli.metrics.base import Metric, Sample
from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer


def deletion(
    inputs: Tensor, maps: Tensor, classes: Tensor, scorer: Scorer, seeds: Sequence[int], **options: Unpack[CurveOptions]
) -> Curve:
    """The deletion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a small area is good.

    With x_k the input whose first k/steps of the highest pixels of L are 0 (the mean colour, in normalised space),
    the area under p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the inputs to zeros.
    """
    return replacement_curve(inputs, torch.zeros_like(inputs), maps, classes, scorer, seeds, **options)


def area(sample: Sample) -> Tensor:
    """The area under the deletion curve, (N,); the ends of the curve are shared by all maps of the same images."""
    images = sample.images
    return deletion(
        images.inputs, sample.maps, images.classes, images.scorer, images.seeds,
        steps=images.steps, ends=(images.probabilities, images.zero_probabilities), batch=images.batch,
    ).area  # fmt: skip


def settings(_height: int, _width: int) -> dict[str, Any]:
    """What deleted pixels become, in normalised units."""
    return {"deletion": {"replaced_by": 0.0}}


METRIC = Metric(
    "deletion", "Deletion", "Petsiuk 2018, arXiv:1806.07421", "scores", "Perturbation curves", area, better="lower",
    settings=settings,
)  # fmt: skip
