"""The table of a model's layers, for ``cam layers``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from camcli.capture.hooks import split_call
from camcli.layers.choose import choose
from camcli.layers.layout import LayoutFlag, parse_layout
from camcli.layers.layout_verification import Proof
from camcli.layers.measurements import LayerMeasurements, measure_layers
from camcli.layers.paths import find_module
from camcli.layers.probe import PassError, ProbedModel


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One row: a module and what was measured about its output.

    Attributes:
        path: canonical path, as in ``named_modules()``.
        module: name of its class.
        shape: of its output for one image; None where it never runs or returns no tensor.
        layout: ``nchw``, ``nhwc`` or ``tokens``; None where the output is not spatial, or was not shown to be.
        grid: rows and columns; None without a layout.
        prefix_tokens: tokens before the grid; None without a layout.
        channels: None without a layout.
        recommended: whether this is the layer that ``--layer auto`` takes.
        proof: what the perturbations show about the layout.
        gradient: whether the class score has a non-zero gradient at the spatial positions.
        reason: one line where the layout is not verified.
    """

    path: str
    module: str
    shape: tuple[int, ...] | None
    layout: str | None
    grid: tuple[int, int] | None
    prefix_tokens: int | None
    channels: int | None
    recommended: bool
    proof: Proof
    gradient: bool
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """The row of ``cam layers --json``."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class LayerSurvey:
    """The result of :func:`survey_layers`.

    Attributes:
        recommended: path of the layer that ``--layer auto`` takes, whether or not it is among the rows.
        rows: the modules asked for, in the order in which they finish, those that never run last.
    """

    recommended: str | None
    rows: tuple[LayerReport, ...]


def report_layers(
    model: ProbedModel, layout: str = "auto", name_contains: str | None = None, verify: Sequence[str] = ()
) -> list[LayerReport]:
    """The rows of :func:`survey_layers`."""
    return list(survey_layers(model, layout, name_contains, verify).rows)


def survey_layers(
    model: ProbedModel, layout: str = "auto", name_contains: str | None = None, verify: Sequence[str] = ()
) -> LayerSurvey:
    """The modules of a model with shape, layout and verification, and which of them is recommended.

    An encoder without a classifier is reported as well; its ``gradient`` is that of its features.

    Args:
        model: module, preprocessing and logits; left as it was.
        layout: as in ``--layout``.
        name_contains: only modules whose path contains this, ignoring case; what is recommended does not depend on it.
        verify: paths; only these modules (after ``name_contains``).

    Raises:
        LayerError: a path of ``verify`` leads nowhere; ``layout`` is no layout.
    """
    flag = parse_layout(layout)
    to_verify = {find_module(model.module, path)[0] for path in verify}
    try:
        return _survey(model, flag, name_contains, to_verify, None)
    except PassError as error:
        if error.images == 1:
            raise
    return _survey(model, flag, name_contains, to_verify, 1)  # the model takes one image at a time


def _survey(
    model: ProbedModel, flag: LayoutFlag, name_contains: str | None, to_verify: set[str], batch_size: int | None
) -> LayerSurvey:
    calls = [path for path in to_verify if split_call(path)[1] is not None]
    with measure_layers(model, flag, False, calls, batch_size) as measurements:
        recommended = choose(measurements)
        paths = [path for path in measurements.record.visits if path]
        if name_contains:
            paths = [path for path in paths if name_contains.casefold() in path.casefold()]
        if to_verify:
            paths = [path for path in paths if path in to_verify]
        measurements.perturb(paths)
        measurements.prepare_gradients(paths)
        return LayerSurvey(recommended, tuple(_row(measurements, path, recommended) for path in paths))


def _row(measurements: LayerMeasurements, path: str, recommended: str | None) -> LayerReport:
    visit, verification = measurements.record.visits[path], measurements.verify(path)
    layout = verification.layout if verification.proof != "refuted" else None
    return LayerReport(
        path=path,
        module=type(visit.module).__name__,
        shape=visit.shape,
        layout=layout.kind if layout else None,
        grid=layout.grid if layout else None,
        prefix_tokens=layout.prefix_tokens if layout else None,
        channels=layout.channels(visit.shape) if layout and visit.shape else None,
        recommended=path == recommended,
        proof=verification.proof,
        gradient=visit.calls == 1 and measurements.has_gradient(path),
        reason=verification.reason,
    )
