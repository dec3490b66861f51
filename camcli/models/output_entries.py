"""The entry of an output that holds the logits, where several may, and what rows of numbers look like."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camcli.device import in_float64
from camcli.errors import ModelError
from camcli.methods.score import Link, probabilities
from camcli.models.outputs import entries, find_logits

_ROUNDING = 1e-6
_SUM_ROUNDING = 2e-3  # half precision rounds each probability to three digits
_LAYER = re.compile(r"(Addmm|Mm|Bmm|Baddbmm|Mv|Linear|\w*Convolution\w*)Backward")
_NEARBY = 200  # operations of a head that are looked at

Entry = tuple[str, Tensor]


@dataclass(frozen=True)
class Choice:
    """An entry of an output.

    Attributes:
        key: its ``--output-key``; None: the one that the usual rules find.
        link: from these logits to the probabilities beside them, where it is the sigmoid; None for all others.
        is_certain: it is known to hold scores of classes.
        guess: the choice in one line, where it is a guess.
    """

    key: str | None = None
    link: Link | None = None
    is_certain: bool = False
    guess: str | None = None


def choose_entry(output: object, classes: int | None = None) -> Choice:
    """The entry of the logits in an output of one image.

    Logits stand beside their own probabilities: the entry whose softmax, or sigmoid, is another one. Else the one that
    holds probabilities, where the usual one does not; else the one of as many numbers as there are classes, or the one
    that is computed from the usual one, as logits are from features.

    Args:
        output: what the model returned for a batch of one.
        classes: their number, where it is known.
    """
    if isinstance(output, Tensor):
        return Choice()
    every = [(key, tensor.float()) for key, tensor in entries(output)]
    for key, logits in every:
        for _, other in every:
            if other is not logits and other.shape == logits.shape and (link := _link(logits, other)) is not None:
                return Choice(key, "sigmoid" if link == "sigmoid" else None, is_certain=True)
    usual = _usual(output, every)
    if len(every) == 1 and usual is None:
        return Choice(every[0][0])
    if len(every) < 2:
        return Choice()
    certain = [key for key, rows in every if _is_distribution(rows)]
    if len(certain) == 1 and (usual is None or not _are_scores(usual[1])):
        return Choice(certain[0], is_certain=True)
    if usual is None:
        return Choice()
    return _among(usual, every, classes, is_named=_is_named(output))


def _among(usual: Entry, every: Sequence[Entry], classes: int | None, *, is_named: bool) -> Choice:
    """The entry with the right number, or computed from the usual one; else the usual one, as a guess."""
    if classes is not None and usual[1].shape[1] != classes:
        matching = [key for key, rows in every if rows.shape[1] == classes]
        if len(matching) == 1:
            return Choice(matching[0])
    if classes is not None or is_named:
        return Choice()
    others = [own for own in every if own[0] != usual[0] and not _is_computed_from(usual[1], own[1])]
    later = [key for key, rows in others if rows.shape != usual[1].shape and _is_computed_from(rows, usual[1])]
    is_later = len(others) == len(later) == 1
    if not others:
        return Choice()
    listed = ", ".join(f"{key}: {rows.shape[1]}" for key, rows in every)
    taken = f"{later[0]}, which is computed from {usual[0]}," if is_later else usual[0] or "the first"
    guess = f"of the rows of numbers that the model returns ({listed}), {taken} is taken for the logits (--output-key)"
    return Choice(later[0] if is_later else None, guess=guess)


def _usual(output: object, every: Sequence[Entry]) -> Entry | None:
    try:
        rows = find_logits(output, is_row=True)
    except ModelError:
        return None
    detached = rows.detach()
    return next((e for e in every if e[1].shape == rows.shape and torch.equal(e[1].detach(), detached)), ("", rows))


def _is_named(output: object) -> bool:
    """Whether the usual entry goes by its name, and not by its place."""
    return not isinstance(output, tuple | list) or hasattr(output, "logits")


def _is_computed_from(later: Tensor, earlier: Tensor) -> bool:
    """Whether a layer, within a few operations, leads from one to the other in the graph."""
    target: Any = _origin_node(earlier)
    waiting: list[tuple[Any, bool]] = [(later.grad_fn, False)]
    seen: list[Any] = []
    while target is not None and waiting and len(seen) < _NEARBY:
        node, is_behind_layer = waiting.pop(0)
        if node is target and is_behind_layer:
            return True
        if node is None or node in seen:
            continue
        seen.append(node)
        is_behind_layer = is_behind_layer or bool(_LAYER.match(type(node).__name__))
        waiting += [(parent, is_behind_layer) for parent, _ in node.next_functions]
    return False


def _origin_node(rows: Tensor) -> Any:
    """The operation that computed these numbers, before their shape and type were changed here."""
    node: Any = rows.grad_fn
    while node is not None and type(node).__name__.startswith(("View", "Reshape", "Squeeze", "ToCopy", "UnsafeView")):
        node = next((parent for parent, _ in node.next_functions), None)
    return node


def _is_distribution(rows: Tensor) -> bool:
    return rows.shape[1] > 1 and is_within(rows, 0, 1) and sum_to_one(rows)


def _are_scores(rows: Tensor) -> bool:
    return are_logarithms(rows) or (is_within(rows, 0, 1) and sum_to_one(rows))


def _link(logits: Tensor, other: Tensor) -> Link | None:
    """By what ``other`` are the probabilities of these logits; None where they are not."""
    logits, other = logits.detach(), other.detach()
    if not is_within(other, 0, 1):
        return None
    links: list[Link] = ["sigmoid"]
    if logits.shape[1] > 1 and sum_to_one(other) and not sum_to_one(logits):
        links.append("softmax")
    matching = (link for link in links if torch.allclose(probabilities(logits, link), other, rtol=1e-3, atol=1e-5))
    return next(matching, None)


def is_plain(rows: Tensor) -> bool:
    """Whether these can only be logits."""
    return not is_within(rows, 0, 1) and not are_logarithms(rows)


def is_within(rows: Tensor, low: float, high: float) -> bool:
    """Whether all numbers lie between these, but for rounding."""
    return bool(((rows >= low - _ROUNDING) & (rows <= high + _ROUNDING)).all())


def sum_to_one(rows: Tensor) -> bool:
    """Whether each row does, but for rounding."""
    return bool(((in_float64(rows).sum(1) - 1).abs() < _SUM_ROUNDING).all())


def are_percentages(rows: Tensor) -> bool:
    """Whether each row lies in 0 to 100 and sums to 100, but for rounding."""
    return rows.shape[1] > 1 and is_within(rows / 100, 0, 1) and sum_to_one(rows / 100)


def are_logarithms(rows: Tensor) -> bool:
    """Whether the exponentials of each row sum to 1."""
    return is_within(rows, -math.inf, 0) and sum_to_one(in_float64(rows).exp())
