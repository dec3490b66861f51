"""Insertion: how fast the class probability rises when an image that lost its pixels gets back those ranked first."""

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor

from camcli.metrics.base import Metric, Sample
from camcli.metrics.blur import blur, blur_width
from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer

USUAL = "blur"
"""The substrate of the paper."""


def insertion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    start: Tensor | None = None,
    **options: Unpack[CurveOptions],
) -> Curve:
    """The insertion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a large area is good.

    With x_k the substrate whose first k/steps of the highest pixels of L are the image's own, the area under
    p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the substrate to the
            inputs.
        start: the substrate, (N, C, H, W); None: :func:`blur` of the inputs.
    """
    return replacement_curve(blur(inputs) if start is None else start, inputs, maps, classes, scorer, seeds, **options)


def area(sample: Sample) -> Tensor:
    """The area under the insertion curve, (N,); the ends of the curve are shared by all maps of the same images."""
    images = sample.images
    start, first = images.without_pixels(USUAL)
    return insertion(
        images.inputs, sample.maps, images.classes, images.scorer, images.seeds,
        steps=images.steps, start=start, ends=(first, images.probabilities), batch=images.batch,
    ).area  # fmt: skip


def settings(height: int, width: int, substrate: str | None) -> dict[str, Any]:
    """How the start of the curve is made; the blur is that of the substrate ``blur``."""
    kernel, sigma = blur_width(height, width)
    return {"insertion": {"substrate": substrate or USUAL, "blur_kernel": kernel, "blur_sigma": sigma}}


METRIC = Metric(
    "insertion", "Insertion", "Petsiuk 2018, arXiv:1806.07421", "scores", "Perturbation curves", area,
    settings=settings,
)  # fmt: skip
