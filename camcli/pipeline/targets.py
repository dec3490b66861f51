"""Which classes of an image are explained: the values of ``--target``, and the classes they choose for an image."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from camcli.errors import TargetError, near_misses

if TYPE_CHECKING:
    from torch import Tensor

NO_TARGET = -1
"""In an array of targets: this image has no class for this specification."""

KEYWORDS = ("predicted", "label", "top:K")
"""What stands for a class that depends on the image."""

Kind = Literal["predicted", "index", "name", "label", "top"]


class Names(Protocol):
    """What target selection needs of a model's class names."""

    @property
    def names(self) -> Sequence[str]:
        """Of all classes, by index."""

    def find(self, text: str) -> int:
        """The index of a class name."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One map per image and method: which class it explains and how that class is chosen."""

    kind: Kind
    value: int | None = None  # the class index; for "top" the rank from 1

    @property
    def chosen_by(self) -> str:
        """What ``chosen_by`` of a target is in the index."""
        return f"top:{self.value}" if self.kind == "top" else self.kind

    @property
    def key(self) -> str:
        """A short name, the same in every run: the target level of an artefact's path."""
        if self.kind == "top":
            return f"top{self.value}"
        return f"class-{self.value}" if self.kind in ("index", "name") else self.kind


def parse_target(text: str, names: Names | None, num_classes: int | None) -> tuple[TargetSpec, ...]:
    """The specifications of a ``--target`` value, in the order given, without repetitions.

    An integer is a class index (``name:7`` forces a name), and an exact class name wins over splitting at commas. A
    name in double quotes may hold commas.

    Raises:
        TargetError: an unknown or ambiguous class, an index outside the model's classes, a malformed ``top:K``.
    """
    if names is not None and "," in text and text.strip() in names.names:
        return (TargetSpec("name", names.find(text.strip())),)
    specs = [spec for part in split_targets(text) for spec in _parse_one(part, names, num_classes)]
    if not specs:
        raise TargetError(f"--target {text!r}: give predicted, a class index or name, label, or top:K.")
    return tuple(dict.fromkeys(specs))


def split_targets(text: str) -> list[str]:
    """The values of a comma list; one in double quotes may hold commas."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line break outside quotes
        parts = text.split(",")
    return [part.strip() for part in parts if part.strip()]


def _parse_one(part: str, names: Names | None, num_classes: int | None) -> list[TargetSpec]:
    if part in ("predicted", "label"):
        return [TargetSpec("predicted" if part == "predicted" else "label")]
    if number := re.fullmatch(r"(-?\d+)(\.0+)?", part):  # pandas writes 281.0 where a column has gaps
        index = int(number[1])
        if index < 0 or (num_classes is not None and index >= num_classes):
            span = f"0 to {num_classes - 1}" if num_classes else "0 and up"
            raise TargetError(f"--target {part}: the model's classes are {span}.")
        return [TargetSpec("index", index)]
    head, _, rest = part.partition(":")
    if head == "top":
        if not rest.isdecimal() or int(rest) < 1 or (num_classes is not None and int(rest) > num_classes):
            most = f" to {num_classes}" if num_classes else ""
            raise TargetError(f"--target {part}: give top:K with K from 1{most}.")
        return [TargetSpec("top", rank) for rank in range(1, int(rest) + 1)]
    is_name = head == "name" and bool(rest)
    keyword = [] if is_name else near_misses(part, KEYWORDS, least=0.75)
    if names is None:
        suggestion = f" Did you mean {keyword[0]}?" if keyword else ""
        raise TargetError(
            f"--target {part}: the model has no class names.{suggestion} Give a class index, or --class-names FILE."
        )
    try:
        return [TargetSpec("name", names.find(rest if is_name else part))]
    except TargetError:
        if not keyword:
            raise
        similar = near_misses(part, names.names)
        more = f" Classes with a similar name are {', '.join(similar)}." if similar else ""
        raise TargetError(f"--target {part}: no such class. Did you mean {keyword[0]}?{more}") from None


def choose_targets(
    logits: Tensor, specs: Sequence[TargetSpec], labels: Sequence[int | None], own: Sequence[TargetSpec | None]
) -> Tensor:
    """The class index of every target specification for every image, chosen where the logits are.

    Args:
        logits: (N, C) float32. Ties go to the lower index, and NaN comes last.
        specs: the T specifications of the run.
        labels: the true class of each image; None where it is unknown.
        own: an image's own target (a manifest's row), which takes the place of the first specification.

    Returns:
        (N, T) int64 on the device of the logits; :data:`NO_TARGET` where the image has no such class.
    """
    import torch

    from camcli.device import to_device

    count = len(logits)
    ranks = np.zeros((count, len(specs)), np.int64)  # of the class, from 1; 0: not chosen by its rank
    fixed = np.full((count, len(specs)), NO_TARGET, np.int64)
    for i in range(count):
        for t, spec in enumerate(specs_of(specs, own[i])):
            if spec.kind in ("predicted", "top"):
                ranks[i, t] = spec.value or 1
            elif spec.kind == "label":
                label = labels[i]
                fixed[i, t] = NO_TARGET if label is None else label
            else:
                fixed[i, t] = spec.value or 0
    ranked = _ranked(logits, int(ranks.max(initial=1)))
    columns = []
    for t in range(len(specs)):
        rank, chosen = ranks[:, t], fixed[:, t]
        if not (rank == rank[:1]).all() or not (chosen == chosen[:1]).all():  # differs by image: sent to the device
            places, values = (to_device(torch.from_numpy(numbers.copy()), logits.device) for numbers in (rank, chosen))
            by_rank = ranked.gather(1, (places - 1).clamp(min=0)[:, None])[:, 0]
            columns.append(torch.where(places > 0, by_rank, values))
        elif rank[:1].any():
            columns.append(ranked[:, rank[0] - 1])
        else:
            columns.append(ranked.new_full((count,), int(chosen[0]) if count else NO_TARGET))
    return torch.stack(columns, dim=1)


def _ranked(logits: Tensor, count: int) -> Tensor:
    """:func:`highest` of each row: (N, count) int64 of (N, C)."""
    clean = logits.masked_fill(logits.isnan(), -math.inf)
    if count == 1:
        return clean.argmax(1, keepdim=True)
    return clean.sort(dim=1, descending=True, stable=True).indices[:, :count]


def highest(logits: np.ndarray, count: int) -> np.ndarray:
    """The classes of the ``count`` highest of (C,) logits, best first; ties go to the lower index, NaN comes last."""
    logits = np.where(np.isnan(logits), -np.inf, logits)
    if count == 1 and len(logits):
        return np.array([logits.argmax()])
    candidates = np.arange(len(logits))
    if count < len(logits):  # sorting a thousand logits takes longer than all else that is done with them
        least = np.partition(logits, -count)[-count]
        candidates = np.flatnonzero(logits >= least)
    classes: np.ndarray = candidates[np.argsort(-logits[candidates], kind="stable")[:count]]
    return classes


def specs_of(specs: Sequence[TargetSpec], own: TargetSpec | None) -> Sequence[TargetSpec]:
    """The specifications of one image: its own target instead of the run's, where it has one."""
    return specs if own is None else (own,)
