"""What the numbers are that a model returns: by values, by the operation that made them, by what the user says."""

from dataclasses import replace

from torch import Tensor

from camcli.capture.outputs import first_numbers
from camcli.device import in_float64
from camcli.errors import ConfigError, ModelError
from camcli.models.model import Model, unwrap
from camcli.models.names import ClassNames
from camcli.models.output_entries import are_logarithms, are_percentages, is_within, sum_to_one
from camcli.models.output_form import OutputForm
from camcli.models.output_origin import Origin, find_origin
from camcli.models.outputs import Probability

_EMBEDDING = 16
"""The least width of an embedding."""
SATURATED = 17.0
"""A logit that is larger has a sigmoid that float32 rounds to 1."""
_OWN = "the model's outputs are {} already: they are shown as they are, and {} is explained"
_OVERRIDE = "; if they are logits, give --probability sigmoid or softmax, if values, none"
_REGRESSION = "the model's configuration says regression: its outputs are values, not classes"
_NO_SCORES = " Return the scores that it is taken from, or name them with --output-key."


def recognise(model: Model, row: Tensor, rows: Tensor, mode: Probability, *, is_certain: bool = False) -> Model:
    """The model with what its output is.

    Args:
        model: as it was loaded.
        row: (1, C), of one pass, with its graph where there is one.
        rows: (n, C), of different inputs.
        mode: ``--probability``.
        is_certain: these are known to be scores of classes.

    Raises:
        ModelError: the output is a class index, a decision, a rank or a constant, which cannot be explained.
        ConfigError: ``mode`` contradicts the output.
    """
    origin = find_origin(row)
    _refuse_what_no_score_is(model, row, rows, origin)
    if _are_unit_vectors(rows):
        note = f"the model's {rows.shape[1]} outputs are an embedding, not classes: every row has length 1"
        return _say(replace(model, output=OutputForm("embedding", link="none", note=note), num_classes=None))
    form = _form(model, origin, rows, mode, is_certain)
    if form.kind == "values":
        if model.class_names is not None and len(model.class_names) != rows.shape[1]:
            model = replace(model, class_names=None)
        return _say(replace(model, output=form, num_classes=rows.shape[1]))
    if mode == "softmax" and rows.shape[1] == 1:
        raise ConfigError(
            f"--probability softmax: model {model.name} has one output, and a softmax over one is always 1. "
            "Give sigmoid (a classifier of two classes) or none (a value)."
        )
    if rows.shape[1] > 1:
        return _say(replace(model, output=form, num_classes=rows.shape[1]))
    names = _two_names(model.class_names)
    return _say(replace(model, output=replace(form, is_binary=True), num_classes=2, class_names=names))


def _say(model: Model) -> Model:
    form = model.output
    notes = model.notes if form.note is None else (*model.notes, form.note)
    assumptions = model.assumptions if form.assumed is None else (*model.assumptions, form.assumed)
    return replace(model, notes=notes, assumptions=assumptions)


def _refuse_what_no_score_is(model: Model, row: Tensor, rows: Tensor, origin: Origin) -> None:
    name = f"model {model.name}"
    if bool((rows == rows.round()).all()) and (origin == "rounded" or not row.requires_grad):
        raise ModelError(
            f"{name} returns whole numbers ({first_numbers(rows)}) without a gradient, such as argmax or a threshold "
            f"gives: a class index has no gradient, and does not say how sure the model is.{_NO_SCORES}"
        )
    if origin == "sorted":
        raise ModelError(
            f"{name} returns its highest scores in order (topk or sort): their places are ranks, not classes. Return "
            "the scores of all classes, or name them with --output-key."
        )
    if origin == "constant":
        raise ModelError(
            f"{name} returns 1 for every image: its softmax goes over an axis of length 1. Of (images, classes), the "
            "softmax is that over axis 1; of one output, a sigmoid."
        )


def _form(model: Model, origin: Origin, rows: Tensor, mode: Probability, is_certain: bool) -> OutputForm:
    """What rows (n, C) are, by their origin and their numbers."""
    start = model.output
    if mode == "none" or (mode == "auto" and _states_regression(model)):
        return replace(start, kind="values", link="none", note=None if mode == "none" else _REGRESSION)
    several = rows.shape[1] > 1
    if several and is_within(rows, 0, 1) and sum_to_one(rows):
        return replace(start, kind="probabilities", link="exp", note=_OWN.format("probabilities", "log p"))
    if are_percentages(rows):
        note = _OWN.format("probabilities in percent", "log p")
        return replace(start, kind="probabilities", link="exp", factor=0.01, note=note)
    if several and are_logarithms(rows):
        return replace(
            start, kind="log-probabilities", link="exp", note=_OWN.format("logarithms of probabilities", "log p")
        )
    if origin == "logsigmoid":
        note = _OWN.format("logarithms of probabilities", "log p − log(1 − p)")
        return replace(start, kind="log-probabilities", link="sigmoid", note=note)
    if is_within(rows, 0, 1) and origin not in ("unbounded", "nonnegative"):
        note = _OWN.format("probabilities", "log p − log(1 − p)")
        if origin == "sigmoid":
            return replace(start, kind="probabilities", link="sigmoid", note=note)
        if mode == "auto":
            numbers = first_numbers(rows)
            guess = f"the model's outputs ({numbers}) are taken for probabilities: they lie in 0 to 1{_OVERRIDE}"
            return replace(start, kind="probabilities", link="sigmoid", assumed=guess)
    if mode in ("softmax", "sigmoid"):
        return replace(start, link=None if several else "sigmoid")
    if origin in ("sigmoid", "softmax"):
        guess = (
            f"the model's outputs ({first_numbers(rows)}) are taken for values: they come from a {origin}, and are no "
            "probabilities; if they are logits, give --probability sigmoid or softmax"
        )
        return replace(start, kind="values", link="none", assumed=guess)
    return _classes(model, rows, is_certain) if several else _single(start, model, origin, rows)


def _classes(model: Model, rows: Tensor, is_certain: bool) -> OutputForm:
    """Several unbounded outputs: logits, unless the user says otherwise."""
    start, columns = model.output, rows.shape[1]
    stated = getattr(unwrap(model.module), "num_classes", None) == columns
    names = model.class_names
    if start.assumed or is_certain or stated or not model.is_own or names is not None or model.multi_label:
        return start
    guess = (
        f"the model's {columns} outputs are taken for the logits of {columns} classes (--class-names names them); if "
        "they are values, give --probability none"
    )
    return replace(start, assumed=guess)


def _single(start: OutputForm, model: Model, origin: Origin, rows: Tensor) -> OutputForm:
    """One unbounded output: the logit of two classes, or a value."""
    names = model.class_names
    if model.multi_label or (names is not None and len(names) == 2):
        return replace(start, link="sigmoid")
    if origin == "nonnegative" or bool((rows.abs() > SATURATED).all()):
        always = "class 1" if origin == "nonnegative" else "0 or 100 %"
        guess = (
            f"the model's one output ({first_numbers(rows)}) is taken for a value: as a logit it would always mean "
            f"{always}; if it is one, give --probability sigmoid"
        )
        return replace(start, kind="values", link="none", assumed=guess)
    guess = "the model's one output is taken for the logit of two classes, decided at zero; "
    return replace(start, link="sigmoid", assumed=guess + "if it is a value (regression), give --probability none")


def _states_regression(model: Model) -> bool:
    config = getattr(unwrap(model.module), "config", None)
    return getattr(config, "problem_type", None) == "regression"


def _are_unit_vectors(rows: Tensor) -> bool:
    """Whether these are normalised embeddings: of length 1, of many numbers, and no distribution over classes."""
    lengths = in_float64(rows).norm(dim=1)
    return rows.shape[1] >= _EMBEDDING and bool(((lengths - 1).abs() < 1e-3).all()) and not sum_to_one(rows)


def _two_names(names: ClassNames | None) -> ClassNames | None:
    """The names of the two classes of one output: of one name, its absence comes first."""
    if names is None or len(names) == 2:
        return names
    name = names.names[0]
    return None if name == "LABEL_0" else ClassNames((f"not {name}", name))
