"""Why no layer will do, in one line that names the cause in the model."""

import torch
from torch import nn

from camcli.capture.detachment import find_detachments
from camcli.capture.outputs import first_numbers
from camcli.capture.programs import WITHOUT_PARTS, find_program
from camcli.layers.calls import describe_calls
from camcli.layers.measurements import LayerMeasurements
from camcli.layers.probe import Visit
from camcli.layers.scores import are_saturated


def why_no_layout(measurements: LayerMeasurements) -> str:
    """Why no layer has a layout that can be verified."""
    visits = [visit for visit in measurements.record.visits.values() if visit.path and visit.calls]
    module = measurements.model.module
    if (program := find_program(module)) is not None:
        path, kind = program
        return f"{path or 'the model'} is {kind}, {WITHOUT_PARTS}"
    if not visits:
        return "no module of the model runs in a forward pass: its output does not come from its parts"
    repeated = [visit for visit in visits if visit.calls > 1 and _is_map(visit, measurements)]
    if repeated:
        outermost = _outermost(repeated)
        return f"{outermost.path} {describe_calls(outermost)}"
    maps = [visit for visit in visits if visit.calls == 1 and _is_map(visit, measurements)]
    if not maps and (quantised := _quantised(module)):
        return f"the model is quantised ({quantised}), and its activations are no floating-point numbers"
    if not maps:
        return "no module returns a map of the image: no output has rows and columns"
    views = [visit for visit in maps if visit.shape is not None and visit.shape[0] > 1]
    last = max(views or maps, key=lambda visit: visit.order)
    if views:
        return f"{last.path} {measurements.verify(last.path).reason}"
    return (
        f"{last.path}, the last that may be a map of the image: {measurements.verify(last.path).reason}. Where you "
        "know how a layer is to be read, name it with --layer, and its layout with --layout (nchw, nhwc, "
        "tokens:PREFIX:HxW); cam layers shows what each layer returns"
    )


def why_no_gradient(measurements: LayerMeasurements) -> str:
    """Why the class score has no gradient at the layers."""
    module = measurements.model.module
    if measurements.failed_backward is not None:
        return f"its backward pass fails: {measurements.failed_backward}"
    detachments = find_detachments(measurements.feed, measurements.evidence.perturbation.images[:1])
    if quantised := _quantised(module):
        return f"the model is quantised ({quantised}), and quantised operations have no gradient"
    if detachments:
        return f"the model leaves autograd's graph by {detachments[-1]}"
    if measurements.record.failed is not None:
        return f"with gradients enabled, {measurements.record.failed}"
    return _why_constant(measurements) or "nothing that can be differentiated leads from there to the score"


def _why_constant(measurements: LayerMeasurements) -> str | None:
    """What the scores themselves show: that they are not finite, or the same for every image."""
    scores = measurements.record.scores.float()
    if not bool(scores.isfinite().all()):
        return f"the model's outputs are not finite ({first_numbers(scores[~scores.isfinite()])} for noise)"
    if are_saturated(measurements.model, measurements.record):
        return "the probabilities that the model returns are rounded to 0 or 1 for noise, so that they have no gradient"
    other = measurements.scores_of_another_image()
    if other is None or scores.shape != other.shape or not torch.equal(scores, other):
        return None
    return f"the model's outputs are the same for every image ({first_numbers(scores)} for two that are noise)"


def _is_map(visit: Visit, measurements: LayerMeasurements) -> bool:
    verifier = measurements.evidence.verifier
    return visit.shape is not None and len(visit.shape) > 2 and verifier.has_candidates((1, *visit.shape[1:]))


def _outermost(visits: list[Visit]) -> Visit:
    """The one that runs last of those with the shortest path."""
    return min(visits, key=lambda visit: (visit.path.count("."), -visit.order))


def _quantised(module: nn.Module) -> str | None:
    kinds = (type(part) for part in module.modules())
    return next((kind.__name__ for kind in kinds if "quantized" in kind.__module__), None)
