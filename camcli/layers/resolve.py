"""From what the user asked for to target layers with a layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from camcli.capture.hooks import split_call
from camcli.errors import LayerError
from camcli.layers.causes import why_no_gradient, why_no_layout
from camcli.layers.choose import choose
from camcli.layers.layout import Layout, parse_layout
from camcli.layers.layout_verification import Proof
from camcli.layers.measurements import LayerMeasurements, measure_layers
from camcli.layers.members import member_note
from camcli.layers.paths import find_module
from camcli.layers.probe import ProbedModel

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Layer:
    """A target layer.

    Attributes:
        path: canonical path, as in ``named_modules()``.
        requested: what was typed.
        module: name of the module's class.
        layout: of its output.
        channels: K.
        proof: ``proven`` where the layout is verified, ``unproven`` where ``--layout`` overrode the verification.
        reason: one line where it is not verified.
        agreement: correlation of the activation change with the predicted one, in [-1, 1].
        assumption: one line where the automatic choice shows only a part of the model.
    """

    path: str
    requested: str
    module: str
    layout: Layout
    channels: int
    proof: Proof
    reason: str | None = None
    agreement: float = 0.0
    assumption: str | None = None


class NoLayerError(LayerError):
    """``--layer auto`` finds no layer.

    Attributes:
        without_gradient: the layer that methods without gradients can look at; None where there is none either.
        image_gradient: whether the class score has a gradient at the image.
    """

    def __init__(self, message: str, without_gradient: str | None, image_gradient: bool) -> None:
        super().__init__(message)
        self.without_gradient, self.image_gradient = without_gradient, image_gradient


def resolve_layers(
    model: ProbedModel,
    requested: Sequence[str],
    layout: str = "auto",
    needs_gradient: bool = True,
    batch_size: int | None = None,
) -> list[Layer]:
    """The target layers for a run, each with a verified layout.

    The verification is causal: parts of an image are perturbed, and the activation must change where its layout
    predicts.

    Args:
        model: module, preprocessing (channels, height, width) and ``logits(output) -> (N, C)``. The module is left
            bit for bit as it was.
        requested: paths, or ``auto``; the same layer twice counts once.
        layout: ``auto``, or the layout of the activation where that cannot be verified.
        needs_gradient: whether the methods of the run need the class score's gradient at the layer.
        batch_size: images that go through the model at once, at most.

    Raises:
        NoLayerError: no layer that will do.
        PassError: the model fails.
        LayerError: a path that leads nowhere; a layer that never runs, runs several times per pass, is not spatial,
            cannot be verified or has no gradient to the score.
    """
    flag = parse_layout(layout)
    # Refuse a mistyped one before anything is computed.
    paths = [path if path == AUTO else find_module(model.module, path)[0] for path in requested]
    calls = [path for path in paths if split_call(path)[1] is not None]
    with measure_layers(model, flag, needs_gradient, calls, batch_size) as measurements:
        measurements.perturb([path for path in paths if path != AUTO])
        layers: dict[str, Layer] = {}
        for typed, path in zip(requested, paths, strict=True):
            if path == AUTO:
                layer = _automatic(measurements, needs_gradient)
            else:
                layer = _explicit(measurements, typed, path, needs_gradient)
            layers.setdefault(layer.path, layer)
    return list(layers.values())


def _choice(measurements: LayerMeasurements, needs_gradient: bool) -> str | None:
    """The same layer for all methods where there is one; without gradients where no layer has one."""
    return choose(measurements) or (None if needs_gradient else choose(measurements, needs_gradient=False))


def _automatic(measurements: LayerMeasurements, needs_gradient: bool) -> Layer:
    path = _choice(measurements, needs_gradient)
    if path is None:
        raise _no_layer(measurements, needs_gradient)
    note = member_note(measurements.record, path, measurements.model.preprocessing.channels)
    return replace(_layer(measurements, AUTO, path), assumption=note)


def _no_layer(measurements: LayerMeasurements, needs_gradient: bool) -> NoLayerError:
    without = choose(measurements, needs_gradient=False)
    image_gradient = measurements.has_image_gradient()
    if needs_gradient and without is not None:
        cause = f"the class score has no gradient at any layer: {why_no_gradient(measurements)}."
        return NoLayerError(f"--layer auto: {cause}", without, image_gradient)
    cause = why_no_layout(measurements)
    return NoLayerError(f"--layer auto: no layer has a layout that can be verified: {cause}.", without, image_gradient)


def _explicit(measurements: LayerMeasurements, typed: str, path: str, needs_gradient: bool) -> Layer:
    verification = measurements.verify(path)
    if verification.layout is None:
        raise LayerError(f"--layer {typed}: {verification.reason}.{_instead(measurements, needs_gradient)}")
    if verification.proof != "proven" and measurements.flag.kind is None:
        raise LayerError(
            f"--layer {typed}: {verification.reason}. If you know its layout, give it with --layout "
            f"(nchw, nhwc, tokens:PREFIX:HxW).{_instead(measurements, needs_gradient)}"
        )
    if needs_gradient and not measurements.has_gradient(path):
        is_cut = measurements.record.score is None or measurements.failed_backward is not None
        cause = f": {why_no_gradient(measurements)}" if is_cut else ""
        raise LayerError(
            f"--layer {typed}: the class score has no gradient at its spatial positions, so gradient methods would "
            f"draw nothing{cause}.{_instead(measurements, needs_gradient)}"
        )
    return _layer(measurements, typed, path)


def _layer(measurements: LayerMeasurements, typed: str, path: str) -> Layer:
    verification, visit = measurements.verify(path), measurements.record.visits[path]
    assert verification.layout is not None
    assert visit.shape is not None
    channels = verification.layout.channels(visit.shape)
    proof, reason = verification.proof, verification.reason
    if proof != "proven":
        proof, reason = "unproven", f"read as --layout says; {reason}"
    name = type(visit.module).__name__
    return Layer(path, typed, name, verification.layout, channels, proof, reason, verification.agreement)


def _instead(measurements: LayerMeasurements, needs_gradient: bool) -> str:
    path = _choice(measurements, needs_gradient)
    return f" A layer that works: {path}." if path is not None else " cam layers shows what each layer returns."
