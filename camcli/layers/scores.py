"""The scores of a model, as they are measured for the choice of a layer."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from camcli.capture.outputs import main_tensor
from camcli.errors import ModelError
from camcli.layers.probe import ProbedModel, Record


def scorer(model: ProbedModel, needs_gradient: bool) -> Callable[[Any], Tensor]:
    """From an output to the scores (N, C); of an encoder without gradients, to its numbers."""

    def scores(output: Any) -> Tensor:
        try:
            return model.logits(output)
        except ModelError:
            features = main_tensor(output)
            if needs_gradient or features is None:
                raise
            return features.flatten(1)  # an encoder: its output takes the place of the score

    return scores


def are_saturated(model: ProbedModel, recorded: Record) -> bool:
    """Whether the model returns probabilities, and all are rounded to 0 or 1."""
    form = getattr(model, "output", None)
    return form is not None and bool(form.are_saturated(recorded.scores.float()))
