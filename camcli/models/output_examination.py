"""What a model's output is, found out before the run from a few outputs.

The model is run twice on one input. Its outputs, and the one of the trial when it was loaded, are examined: rows in
[0, 1] that sum to 1, single values in [0, 1], rows whose exponentials sum to 1, whole numbers. Where the numbers alone
do not decide, the operation that made them does, and what then remains a guess is said.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from camcli.capture import noise
from camcli.errors import ConfigError, ModelError
from camcli.models.model import Model, unwrap
from camcli.models.names import ClassNames
from camcli.models.output_form import OutputForm
from camcli.models.outputs import Probability

Example = Callable[[], Tensor | None]
"""Gives one real image, preprocessed: (1, C, H, W); None where there is none."""


@dataclass(frozen=True)
class Examination:
    """What two equal passes of one image gave.

    Attributes:
        form: what the output is.
        first, second: the outputs of the two passes, (1, C) float32 without graph; None where the module failed or
            returns no logits, which is for the layout verification to explain.
    """

    form: OutputForm
    first: Tensor | None = None
    second: Tensor | None = None


def examine(model: Model, mode: Probability = "auto", example: Example = lambda: None) -> Examination:
    """Examine the output of a model, inside :meth:`camcli.models.Model.prepared`.

    Args:
        model: as it was loaded.
        mode: ``--probability``.
        example: asked for a real image only where noise does not decide.
    """
    return Examination(OutputForm())
