"""The entry of an output that holds the logits, where several may, and what rows of numbers look like."""

import math

import torch
from torch import Tensor

from camcli.errors import ModelError
from camcli.methods.score import Link, probabilities
from camcli.models.outputs import entries, find_logits

_ROUNDING = 1e-6
_SUM_ROUNDING = 2e-3  # half precision rounds each probability to three digits


def choose_entry(output: object) -> str | None:
    """The ``--output-key`` of the logits in an output; None where the usual rules find them.

    Logits stand beside their own probabilities: the entry whose softmax, or sigmoid, is another one. Else, where the
    usual entry holds no scores that are known for sure, the one that holds probabilities.
    """
    if isinstance(output, Tensor):
        return None
    every = [(key, tensor.detach().float()) for key, tensor in entries(output)]
    for key, logits in every:
        for _, other in every:
            if other is not logits and other.shape == logits.shape and _gives(logits, other):
                return key
    certain = [key for key, rows in every if rows.shape[1] > 1 and is_within(rows, 0, 1) and sum_to_one(rows)]
    if len(certain) != 1 or len(every) == 1:
        return None
    try:
        usual = find_logits(output).detach()
    except ModelError:
        return certain[0]
    return None if _are_scores(usual) else certain[0]


def _are_scores(rows: Tensor) -> bool:
    return are_logarithms(rows) or (is_within(rows, 0, 1) and sum_to_one(rows))


def _gives(logits: Tensor, other: Tensor) -> bool:
    """Whether ``other`` are the probabilities of these logits."""
    if not is_within(other, 0, 1):
        return False
    links: list[Link] = ["sigmoid"]
    if logits.shape[1] > 1 and sum_to_one(other) and not sum_to_one(logits):
        links.append("softmax")
    return any(torch.allclose(probabilities(logits, link), other, rtol=1e-3, atol=1e-5) for link in links)


def is_plain(rows: Tensor) -> bool:
    """Whether these can only be logits."""
    return not is_within(rows, 0, 1) and not are_logarithms(rows)


def is_within(rows: Tensor, low: float, high: float) -> bool:
    """Whether all numbers lie between these, but for rounding."""
    return bool(((rows >= low - _ROUNDING) & (rows <= high + _ROUNDING)).all())


def sum_to_one(rows: Tensor) -> bool:
    """Whether each row does, but for rounding."""
    return bool(((rows.double().sum(1) - 1).abs() < _SUM_ROUNDING).all())


def are_logarithms(rows: Tensor) -> bool:
    """Whether the exponentials of each row sum to 1."""
    return is_within(rows, -math.inf, 0) and sum_to_one(rows.double().exp())
