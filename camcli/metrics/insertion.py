"""Insertion: how fast the class probability rises when a blurred image gets back the pixels ranked first."""

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor

from camcli.metrics.base import Metric, Sample
from camcli.metrics.blur import blur, blur_width
from camcli.metrics.curve import Curve, CurveOptions, replacement_curve
from camcli.metrics.scoring import Scorer


def insertion(
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    scorer: Scorer,
    seeds: Sequence[int],
    *,
    blurred: Tensor | None = None,
    **options: Unpack[CurveOptions],
) -> Curve:
    """The insertion curve (Petsiuk 2018, RISE, arXiv:1806.07421, section 4.2); a large area is good.

    With x_k the blurred input whose first k/steps of the highest pixels of L are the image's own, the area under
    p_c(x_k) over k/steps, k = 0 … steps.

    Args:
        inputs: (N, C, H, W), normalised.
        maps, classes, scorer, seeds, options: see :func:`.replacement_curve`, which goes from the blurred to the plain
            inputs.
        blurred: :func:`blur` of the inputs, where it is at hand.
    """
    start = blur(inputs) if blurred is None else blurred
    return replacement_curve(start, inputs, maps, classes, scorer, seeds, **options)


def area(sample: Sample) -> Tensor:
    """The area under the insertion curve, (N,); the ends of the curve are shared by all maps of the same images."""
    images = sample.images
    ends = images.blurred_probabilities, images.probabilities
    return insertion(
        images.inputs, sample.maps, images.classes, images.scorer, images.seeds,
        steps=images.steps, blurred=images.blurred, ends=ends, batch=images.batch,
    ).area  # fmt: skip


def settings(height: int, width: int) -> dict[str, Any]:
    """How the start of the curve is made."""
    kernel, sigma = blur_width(height, width)
    return {"insertion": {"blur_kernel": kernel, "blur_sigma": sigma}}


METRIC = Metric(
    "insertion", "Insertion", "Petsiuk 2018, arXiv:1806.07421", "scores", "Perturbation curves", area,
    settings=settings,
)  # fmt: skip
