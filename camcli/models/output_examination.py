"""What a model's output is, found out before the run from a few outputs.

The model is run for two images more: those of one pass, or twice the same. Together with the trial when it was loaded
they show what the numbers are (:mod:`camcli.models.output_recognition`), whether equal passes give equal outputs, and
whether an image's output depends on the others of its batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camcli.capture import freeze, noise
from camcli.capture.outputs import main_tensor
from camcli.errors import ModelError, is_out_of_memory
from camcli.models.model import Model, is_distilled
from camcli.models.output_entries import choose_entry, is_plain
from camcli.models.output_recognition import recognise
from camcli.models.outputs import Probability
from camcli.models.repetition import RepeatedPass, repeat_pass, run_beside

Example = Callable[[], Tensor | None]
"""Gives one real image, preprocessed: (1, C, H, W); None where there is none."""


@dataclass(frozen=True)
class Examination:
    """What two equal passes of one image gave.

    Attributes:
        model: with its output's form, number of classes and names, as they were recognised.
        repeated: both passes, as they were.
        first: the output of one image, (1, C) float32 without graph; None where the model fails or returns no logits,
            which is for the layout verification to explain.
    """

    model: Model
    repeated: RepeatedPass
    first: Tensor | None = None


def examine(model: Model, mode: Probability = "auto", example: Example = lambda: None) -> Examination:
    """Examine the output of a model, inside :meth:`camcli.models.Model.prepared`.

    Args:
        model: as it was loaded.
        mode: ``--probability``.
        example: asked for a real image where the trial when the model was loaded does not decide, or there was none.

    Raises:
        ModelError: the output is a class index or a decision, which has no gradient, or several rows for one image.
        ConfigError: ``mode`` contradicts the output.
    """
    if model.num_classes is None:
        return _examine_encoder(model)
    earlier = _rows(model, model.trial)
    is_clear = model.num_classes > 1 and (not model.is_own or (earlier is not None and is_plain(earlier)))
    image = None if is_clear else example()
    image = _noise(model) if image is None else image.to(model.device)
    repeated, changes_input = _repeat(model, image)
    model = replace(model, changes_input=changes_input)
    output = repeated.first
    if output is None:
        return Examination(model, repeated)
    model, is_certain = _with_entry(model, output)
    if (tensor := main_tensor(output)) is not None and tensor.dtype == torch.float16:
        model = replace(model, output=replace(model.output, smallest=_SMALLEST_HALF))
    rows = _rows(model, output)
    if rows is None:
        return Examination(model, repeated)
    if len(repeated.images) == 1 < len(rows):
        raise ModelError(
            f"model {model.name} returns {len(rows)} rows for one image: of views or parts of it. Their mean, or "
            "whatever makes one row of them, belongs into the module."
        )
    if not bool(rows.isfinite().any()):
        raise ModelError(
            f"model {model.name} returns no finite number for an image, but NaN or infinity: its weights, its "
            "preprocessing (--mean, --std) or its type (--precision fp32) may be the cause."
        )
    evidence = [row.detach().cpu() for row in (rows, _rows(model, model.trial)) if row is not None]
    evidence = [row for row in evidence if row.shape[1] == rows.shape[1]]
    recognised = recognise(model, rows, torch.cat(evidence), mode, is_certain=is_certain)
    return Examination(replace(recognised, trial=None), repeated, rows[-1:].detach())


def require_row_per_image(examination: Examination, batch_size: int | None) -> None:
    """Refuse a classifier that returns other than two rows for two images, unless it gets one at a time.

    Raises:
        ModelError: it mixes the images of a batch, or looks at one of them alone.
    """
    rows, model = examination.repeated.rows, examination.model
    if model.num_classes is None or rows in (None, 2) or batch_size == 1:
        return
    raise ModelError(
        f"model {model.name} returns scores of {rows} where 2 images went in. If it takes one image at a time, give "
        "--batch-size 1."
    )


def _repeat(model: Model, image: Tensor) -> tuple[RepeatedPass, bool]:
    """One pass of the image beside the one of the trial; where that does not say everything, two of it alone.

    Returns:
        The passes, and whether the model changed its input in place.
    """
    run = _Pass(model)
    trial = None if not model.is_own else _as_row(model, model.trial)
    beside = None
    if trial is not None:
        images = torch.cat([noise(model.preprocessing, 1, model.device), image])
        beside = run_beside(model, images, trial, lambda: run(images), lambda output: _as_row(model, output))
        if beside.kind == "constant" and not beside.uses_batch and beside.rows == len(images):
            return beside, run.changes_input
    repeated = repeat_pass(model, image, lambda: run(image))
    if beside is not None and repeated.kind == "constant" and not repeated.changed:
        repeated = replace(repeated, uses_batch=beside.uses_batch, rows=beside.rows)
    return repeated, run.changes_input


def _as_row(model: Model, output: object) -> Tensor | None:
    """The numbers for each image, of a classifier or an encoder."""
    if model.num_classes is not None:
        return _rows(model, output)
    tensor = main_tensor(output)
    return None if tensor is None or tensor.dim() == 0 else tensor.flatten(1).float() if tensor.dim() > 1 else None


def _examine_encoder(model: Model) -> Examination:
    repeated, changes_input = _repeat(model, _noise(model))
    model = replace(model, changes_input=changes_input)
    rows = _as_row(model, repeated.first)
    model = replace(model, output=replace(model.output, kind="embedding", link="none"), trial=None)
    return Examination(model, repeated, None if rows is None else rows[-1:].detach())


def _noise(model: Model) -> Tensor:
    """Other noise than that of the trial."""
    return noise(model.preprocessing, 2, model.device)[1:]


def _with_entry(model: Model, output: object) -> tuple[Model, bool]:
    """The model with the entry of its output that holds the logits, and whether it is known to hold scores."""
    if model.output_key is not None or is_distilled(model.module):
        return model, False
    stated = None if model.class_names is None else len(model.class_names)
    choice = choose_entry(output, stated)
    form = replace(model.output, key=choice.key, link=choice.link)
    if choice.guess is not None:
        form = replace(form, assumed=choice.guess)
    return replace(model, output=form), choice.is_certain


@dataclass
class _Pass:
    """One pass of a model, with its graph where that can be recorded.

    Attributes:
        changes_input: whether the model has changed its input in place.
    """

    model: Model
    changes_input: bool = False

    def __call__(self, images: Tensor) -> object:
        """The output; None where the model fails."""
        for needs_graph in (True, False):
            # A leaf of the graph must not be changed in place, and a copy of one may.
            inputs = images.detach().requires_grad_(needs_graph).clone()
            try:
                with freeze(self.model.module), torch.set_grad_enabled(needs_graph):
                    output = self.model.module(inputs)
            except Exception as error:  # a user's module can fail in any way; the layout verification says how
                if is_out_of_memory(error):
                    raise
                continue
            self.changes_input = self.changes_input or inputs._version > 0
            return output
        return None


def _rows(model: Model, output: object) -> Tensor | None:
    try:
        return None if output is None else model.raw(output)
    except ModelError:
        return None


_SMALLEST_HALF = 2**-13  # whose reciprocal float16 holds, with room for the scale of the scores
