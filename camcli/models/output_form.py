"""What the numbers that a model returns are, and how scores and probabilities come from them.

Everything behind the model works on one score for each class. A model that returns probabilities has its logarithm, or
the inverse of the sigmoid, taken here, so that its own probability comes back from the score; a single output is the
classifier of two classes.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from camcli.methods.score import Link

Kind = Literal["logits", "probabilities", "log-probabilities", "values", "embedding"]


@dataclass(frozen=True)
class OutputForm:
    """What a model's output is.

    Attributes:
        kind: of the numbers that the model returns.
        key: the entry that was chosen among several, as ``--output-key`` takes it; None where there is one alone.
        link: from the scores of :meth:`scores` to probabilities; None: as the model states (``multi_label``).
        is_binary: one output, which stands for two classes.
        is_row: the numbers of a batch of one image come without its axis, as ``squeeze()`` leaves them.
        factor: what the numbers are multiplied by: 1/100 for percentages.
        smallest: probabilities below this have no gradient: 1/p would overflow in the type of the output.
        assumed: the guess about its meaning, one line for people; None where nothing was guessed.
        note: one line for people on what was recognised and taken instead of the usual; None for logits.
    """

    kind: Kind = "logits"
    key: str | None = None
    link: Link | None = None
    is_binary: bool = False
    is_row: bool = False
    factor: float = 1.0
    smallest: float = torch.finfo(torch.float32).tiny
    assumed: str | None = None
    note: str | None = None

    def scores(self, output: Tensor) -> Tensor:
        """What the model returned, (N, C) float32 → the score of each class, (N, classes).

        The logit; or log p of classes of which one is right; or log p − log(1 − p) of classes each by itself. Of one
        output z the two classes have −z and z.
        """
        scores = output
        if self.link == "exp":
            is_logarithm = self.kind == "log-probabilities"
            scores = sharpen(output if is_logarithm else output.clamp(min=self.smallest).log())
        elif self.kind == "probabilities":
            scores = inverse_sigmoid(output, self.smallest)
        elif self.kind == "log-probabilities":
            scores = output - _log1mexp(output)
        return torch.cat([-scores, scores], 1) if self.is_binary else scores

    def are_saturated(self, scores: Tensor) -> bool:
        """Whether the probabilities that the model returned are all rounded to 0 or 1, so that they have no gradient.

        Args:
            scores: of :meth:`scores`, (1, classes).
        """
        if self.kind != "probabilities":
            return False
        low = math.log(self.smallest) + _ROUNDING
        high = -math.log(max(self.smallest, torch.finfo(torch.float32).eps / 2)) - _ROUNDING
        if self.link == "exp":
            return int((scores <= low).sum()) >= scores.shape[1] - 1
        scores = scores[:, -1:] if self.is_binary else scores
        return bool(((scores <= low) | (scores >= high)).all())


def sharpen(log_p: Tensor) -> Tensor:
    """log p of rows (N, C), each of a distribution, with gradients that hold where p is rounded to 1.

    Of a class with more than half, log p is taken from the others, log(1 − Σ p_other): its own p is rounded to 1 long
    before theirs are rounded to 0, and so is the gradient that comes through it. Where Σ p_other is below
    :data:`CERTAIN`, the gradient is that of log p − log(1 − p): the same but for a factor, and so the same map, where
    that of log p would be too small for the precision of a pass.
    """
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)
    is_major = log_p > math.log(0.5)
    others = log_p.masked_fill(is_major, -math.inf).logsumexp(1, keepdim=True)
    from_others = torch.log1p(-others.clamp(max=math.log(0.5)).exp())
    certain = from_others.detach() - (others - others.detach())
    from_others = torch.where(others < math.log(CERTAIN), certain, from_others)
    return torch.where(is_major, from_others, log_p)


def inverse_sigmoid(p: Tensor, smallest: float) -> Tensor:
    """log p − log(1 − p), finite everywhere: 0 and 1 count as the nearest numbers of the type."""
    remainder = (1 - p).clamp(min=max(smallest, torch.finfo(p.dtype).eps / 2))
    return torch.log(p.clamp(min=smallest)) - torch.log(remainder)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) of x ≤ 0, finite everywhere."""
    return torch.log(-torch.expm1(x.clamp(max=-torch.finfo(x.dtype).tiny)))


_ROUNDING = 1e-3
CERTAIN = 1e-6
"""The largest 1 − p at which a probability counts as rounded to 1."""
