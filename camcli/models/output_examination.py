"""What a model's output is, found out before the run from a few outputs.

The model is run twice on one input. Its outputs, and the one of the trial when it was loaded, are examined: rows in
[0, 1] that sum to 1, single values in [0, 1], rows whose exponentials sum to 1, whole numbers. Where the numbers alone
do not decide, the operation that made them does, and what then remains a guess is said.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camcli.capture import freeze, noise
from camcli.capture.outputs import main_tensor
from camcli.errors import ConfigError, ModelError
from camcli.models.model import Model, is_distilled, unwrap
from camcli.models.names import ClassNames
from camcli.models.output_entries import are_logarithms, choose_entry, is_plain, is_within, sum_to_one
from camcli.models.output_form import OutputForm
from camcli.models.output_origin import Origin, find_origin
from camcli.models.outputs import Probability
from camcli.models.repetition import RepeatedPass, repeat_pass

Example = Callable[[], Tensor | None]
"""Gives one real image, preprocessed: (1, C, H, W); None where there is none."""


@dataclass(frozen=True)
class Examination:
    """What two equal passes of one image gave.

    Attributes:
        model: with its output's form, number of classes and names, as they were recognised.
        first: the output of the first pass, (1, C) float32 without graph; None where the model fails or returns no
            logits, which is for the layout verification to explain.
        second: that of the second.
        repeated: both passes, as they were.
    """

    model: Model
    repeated: RepeatedPass
    first: Tensor | None = None
    second: Tensor | None = None


def examine(model: Model, mode: Probability = "auto", example: Example = lambda: None) -> Examination:
    """Examine the output of a model, inside :meth:`camcli.models.Model.prepared`.

    Args:
        model: as it was loaded.
        mode: ``--probability``.
        example: asked for a real image where the trial when the model was loaded does not decide, or there was none.

    Raises:
        ModelError: the output is a class index or a decision, which has no gradient.
        ConfigError: ``mode`` contradicts the output.
    """
    if model.num_classes is None:
        return _examine_encoder(model)
    earlier = _rows(model, model.trial)
    is_clear = model.num_classes > 1 and (not model.is_own or (earlier is not None and is_plain(earlier)))
    image = None if is_clear else example()
    image = noise(model.preprocessing, 1, model.device) if image is None else image.to(model.device)
    run = _Pass(model, image)
    repeated = repeat_pass(model, run)
    model = replace(model, changes_input=run.changes_input)
    passes = [repeated.first, repeated.second]
    if passes[0] is None or passes[1] is None:
        return Examination(model, repeated)
    if model.output_key is None and not is_distilled(model.module):
        model = replace(model, output=replace(model.output, key=choose_entry(passes[0])))
    if (tensor := main_tensor(passes[0])) is not None and tensor.dtype == torch.float16:
        model = replace(model, output=replace(model.output, smallest=_SMALLEST_HALF))
    rows = [_rows(model, output) for output in passes]
    if rows[0] is None or rows[1] is None:
        return Examination(model, repeated)
    if not any(bool(row.isfinite().any()) for row in rows if row is not None):
        raise ModelError(
            f"model {model.name} returns no finite number for an image, but NaN or infinity: its weights, its "
            "preprocessing (--mean, --std) or its type (--precision fp32) may be the cause."
        )
    evidence = [row for row in (rows[0], _rows(model, model.trial)) if row is not None]
    recognised = recognise(model, rows[0], torch.cat([row.detach().cpu() for row in evidence]), mode)
    return Examination(replace(recognised, trial=None), repeated, rows[0].detach(), rows[1].detach())


def _examine_encoder(model: Model) -> Examination:
    run = _Pass(model, noise(model.preprocessing, 1, model.device))
    repeated = repeat_pass(model, run)
    model = replace(model, changes_input=run.changes_input)
    first, second = main_tensor(repeated.first), main_tensor(repeated.second)
    model = replace(model, output=replace(model.output, kind="embedding", link="none"), trial=None)
    if first is None or second is None:
        return Examination(model, repeated)
    return Examination(model, repeated, first.detach().flatten(1).float(), second.detach().flatten(1).float())


@dataclass
class _Pass:
    """One pass, with its graph where that can be recorded.

    Attributes:
        changes_input: whether the model has changed its input in place.
    """

    model: Model
    image: Tensor
    changes_input: bool = False

    def __call__(self) -> object:
        """The output; None where the model fails."""
        for needs_graph in (True, False):
            # A leaf of the graph must not be changed in place, and a copy of one may.
            image = self.image.detach().requires_grad_(needs_graph).clone()
            try:
                with freeze(self.model.module), torch.set_grad_enabled(needs_graph):
                    output = self.model.module(image)
            except Exception:  # a user's module can fail in any way; the layout verification says how
                continue
            self.changes_input = self.changes_input or image._version > 0
            return output
        return None


def _rows(model: Model, output: object) -> Tensor | None:
    try:
        return None if output is None else model.raw(output)
    except ModelError:
        return None


def recognise(model: Model, row: Tensor, rows: Tensor, mode: Probability) -> Model:
    """The model with what its output is.

    Args:
        model: as it was loaded.
        row: (1, C), of one pass, with its graph where there is one.
        rows: (n, C), of different inputs.
        mode: ``--probability``.
    """
    origin = find_origin(row)
    if _are_decisions(row, rows, origin):
        raise ModelError(
            f"model {model.name} returns whole numbers ({_listed(rows)}) without a gradient, such as argmax or a "
            "threshold gives: a class index has no gradient, and does not say how sure the model is. Return the "
            "scores that it is taken from, or name them with --output-key."
        )
    if _are_unit_vectors(rows):
        note = f"the model's {rows.shape[1]} outputs are an embedding, not classes: every row has length 1"
        return _say(replace(model, output=OutputForm("embedding", link="none", note=note), num_classes=None))
    form = _form(model, origin, rows, mode)
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
        return _say(replace(model, output=form))
    names = _two_names(model.class_names)
    return _say(replace(model, output=replace(form, is_binary=True), num_classes=2, class_names=names))


def _say(model: Model) -> Model:
    lines = [line for line in (model.output.note, model.output.assumed) if line is not None]
    return replace(model, notes=(*model.notes, *lines))


def _form(model: Model, origin: Origin, rows: Tensor, mode: Probability) -> OutputForm:
    """What rows (n, C) are, by their origin and their numbers."""
    start = model.output
    if mode == "none" or (mode == "auto" and _states_regression(model)):
        return replace(start, kind="values", link="none", note=None if mode == "none" else _REGRESSION)
    several = rows.shape[1] > 1
    if several and is_within(rows, 0, 1) and sum_to_one(rows):
        return replace(start, kind="probabilities", link="exp", note=_OWN.format("probabilities", "log p"))
    if several and are_logarithms(rows):
        return replace(
            start, kind="log-probabilities", link="exp", note=_OWN.format("logarithms of probabilities", "log p")
        )
    if origin == "logsigmoid":
        note = _OWN.format("logarithms of probabilities", "log p − log(1 − p)")
        return replace(start, kind="log-probabilities", link="sigmoid", note=note)
    if is_within(rows, 0, 1) and origin != "unbounded":
        note = _OWN.format("probabilities", "log p − log(1 − p)")
        if origin == "sigmoid":
            return replace(start, kind="probabilities", link="sigmoid", note=note)
        if mode == "auto":
            guess = f"the model's outputs ({_listed(rows)}) are taken for probabilities: they lie in 0 to 1{_OVERRIDE}"
            return replace(start, kind="probabilities", link="sigmoid", assumed=guess)
    if several:
        return start
    return _single(start, model, rows, mode)


def _single(start: OutputForm, model: Model, rows: Tensor, mode: Probability) -> OutputForm:
    """One unbounded output: the logit of two classes, or a value."""
    names = model.class_names
    if mode == "sigmoid" or model.multi_label or (names is not None and len(names) == 2):
        return replace(start, link="sigmoid")
    if bool((rows.abs() > SATURATED).all()):
        guess = (
            f"the model's one output ({_listed(rows)}) is taken for a value: as a logit it would always mean 0 or "
            "100 %; if it is one, give --probability sigmoid"
        )
        return replace(start, kind="values", link="none", assumed=guess)
    guess = "the model's one output is taken for the logit of two classes, decided at zero; "
    return replace(start, link="sigmoid", assumed=guess + "if it is a value (regression), give --probability none")


def _states_regression(model: Model) -> bool:
    config = getattr(unwrap(model.module), "config", None)
    return getattr(config, "problem_type", None) == "regression"


def _are_decisions(row: Tensor, rows: Tensor, origin: Origin) -> bool:
    is_whole = bool((rows == rows.round()).all())
    return is_whole and (origin == "rounded" or (not row.requires_grad and rows.shape[1] == 1))


def _are_unit_vectors(rows: Tensor) -> bool:
    """Whether these are normalised embeddings: of length 1, of many numbers, on both sides of zero."""
    lengths = rows.double().norm(dim=1)
    return rows.shape[1] >= _EMBEDDING and bool(((lengths - 1).abs() < 1e-3).all()) and bool((rows < 0).any())


def _two_names(names: ClassNames | None) -> ClassNames | None:
    """The names of the two classes of one output: of one name, its absence comes first."""
    if names is None or len(names) == 2:
        return names
    name = names.names[0]
    return None if name == "LABEL_0" else ClassNames((f"not {name}", name))


def _listed(rows: Tensor) -> str:
    values = [f"{value:.4g}" for value in rows.flatten()[:3].tolist()]
    return ", ".join(values) + (", …" if rows.numel() > 3 else "")


_SMALLEST_HALF = 2**-13  # whose reciprocal float16 holds, with room for the scale of the scores
_EMBEDDING = 16
"""The least width of an embedding."""
SATURATED = 17.0
"""A logit that is larger has a sigmoid that float32 rounds to 1."""
_OWN = "the model's outputs are {} already: they are shown as they are, and {} is explained"
_OVERRIDE = "; if they are logits, give --probability sigmoid or softmax, if values, none"
_REGRESSION = "the model's configuration says regression: its outputs are values, not classes"
