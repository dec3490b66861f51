"""What the numbers that a model returns are, and how scores and probabilities come from them.

Everything behind the model works on one score for each class. A model that returns probabilities has its logarithm, or
the inverse of the sigmoid, taken here, so that its own probability comes back from the score; a single output is the
classifier of two classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from camcli.methods.score import Link

Kind = Literal["logits", "probabilities", "log-probabilities", "values", "embedding"]
Source = Literal["softmax", "sigmoid", "own", "none"]


@dataclass(frozen=True)
class OutputForm:
    """What a model's output is.

    Attributes:
        kind: of the numbers that the model returns.
        key: the entry that was chosen among several, as ``--output-key`` takes it; None where there is one alone.
        link: from the scores of :meth:`scores` to probabilities; None: as the model states (``multi_label``).
        is_binary: one output, which stands for two classes.
        assumed: the guess about its meaning, one line for people; None where nothing was guessed.
        note: one line for people on what was recognised and taken instead of the usual; None for logits.
    """

    kind: Kind = "logits"
    key: str | None = None
    link: Link | None = None
    is_binary: bool = False
    assumed: str | None = None
    note: str | None = None

    @property
    def probability(self) -> Source:
        """Where the probability comes from, as the index states it."""
        if self.kind in ("values", "embedding"):
            return "none"
        if self.kind != "logits":
            return "own"
        return "sigmoid" if self.link == "sigmoid" else "softmax"

    def scores(self, output: Tensor) -> Tensor:
        """What the model returned, (N, C) float32 → the score of each class, (N, classes).

        The logit; or log p of classes of which one is right; or log p − log(1 − p) of classes each by itself. Of one
        output z the two classes have −z and z.
        """
        scores = output
        if self.kind == "probabilities":
            scores = log_probabilities(output) if self.link == "exp" else inverse_sigmoid(output)
        elif self.kind == "log-probabilities" and self.link == "sigmoid":
            scores = output - _log1mexp(output)
        return torch.cat([-scores, scores], 1) if self.is_binary else scores


def log_probabilities(p: Tensor) -> Tensor:
    """log p of rows (N, C) that sum to 1, finite everywhere.

    Of a class with more than half, log p is taken from the others, log(1 − Σ p_other): p itself is rounded to 1 long
    before the others are rounded to 0, and so is the gradient that comes through it.
    """
    tiny = torch.finfo(p.dtype).tiny
    is_major = p > 0.5
    others = p.masked_fill(is_major, 0).sum(1, keepdim=True)
    return torch.where(is_major, torch.log1p(-others.clamp(max=0.5)), torch.log(p.clamp(min=tiny)))


def inverse_sigmoid(p: Tensor) -> Tensor:
    """log p − log(1 − p), finite everywhere: 0 and 1 count as the nearest numbers of the type."""
    limits = torch.finfo(p.dtype)
    return torch.log(p.clamp(min=limits.tiny)) - torch.log((1 - p).clamp(min=limits.eps / 2))


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) of x ≤ 0, finite everywhere."""
    return torch.log(-torch.expm1(x.clamp(max=-torch.finfo(x.dtype).tiny)))
