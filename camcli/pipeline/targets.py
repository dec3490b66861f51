"""Which classes of an image are explained: the ``--target`` language and its answer for one image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from camcli.errors import TargetError

NO_SLOT = -1
"""In an array of targets: this image has no class for this slot."""

Kind = Literal["predicted", "index", "name", "label", "top"]


class Names(Protocol):
    """What target selection needs of a model's class names."""

    @property
    def names(self) -> Sequence[str]: ...

    def find(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One map per image and method: which class it explains and how that class is chosen."""

    kind: Kind
    value: int | None = None  # the class index; for "top" the rank from 1

    @property
    def chosen_by(self) -> str:
        return f"top:{self.value}" if self.kind == "top" else self.kind

    @property
    def key(self) -> str:
        """A short name, the same in every run: the target level of an artefact's path."""
        if self.kind == "top":
            return f"top{self.value}"
        return f"class-{self.value}" if self.kind in ("index", "name") else self.kind


def parse_target(text: str, names: Names | None, num_classes: int | None) -> tuple[Slot, ...]:
    """The slots of a ``--target`` value, in the order given, without repetitions.

    An integer is a class index (``name:7`` forces a name), and an exact class name wins over splitting at commas.

    Raises:
        TargetError: an unknown or ambiguous class, an index outside the model's classes, a malformed ``top:K``.
    """
    if names is not None and "," in text and text.strip() in names.names:
        return (Slot("name", names.find(text.strip())),)
    slots = [slot for part in text.split(",") if part.strip() for slot in _parse_one(part.strip(), names, num_classes)]
    if not slots:
        raise TargetError(f"--target {text!r}: give predicted, a class index or name, label, or top:K.")
    return tuple(dict.fromkeys(slots))


def _parse_one(part: str, names: Names | None, num_classes: int | None) -> list[Slot]:
    if part in ("predicted", "label"):
        return [Slot("predicted" if part == "predicted" else "label")]
    if number := re.fullmatch(r"(-?\d+)(\.0+)?", part):  # pandas writes 281.0 where a column has gaps
        index = int(number[1])
        if index < 0 or (num_classes is not None and index >= num_classes):
            span = f"0 to {num_classes - 1}" if num_classes else "0 and up"
            raise TargetError(f"--target {part}: the model's classes are {span}.")
        return [Slot("index", index)]
    head, _, rest = part.partition(":")
    if head == "top":
        if not rest.isdecimal() or int(rest) < 1 or (num_classes is not None and int(rest) > num_classes):
            most = f" to {num_classes}" if num_classes else ""
            raise TargetError(f"--target {part}: give top:K with K from 1{most}.")
        return [Slot("top", rank) for rank in range(1, int(rest) + 1)]
    if names is None:
        raise TargetError(f"--target {part}: the model has no class names. Give a class index, or --class-names FILE.")
    return [Slot("name", names.find(rest if head == "name" and rest else part))]


def choose_targets(
    logits: np.ndarray, slots: Sequence[Slot], labels: Sequence[int | None], own: Sequence[Slot | None]
) -> np.ndarray:
    """The class index of every slot of every image.

    Args:
        logits: (N, C) float32. Ties go to the lower index.
        slots: the T slots of the run.
        labels: the true class of each image, where known.
        own: an image's own target (a manifest's row), which takes the place of the first slot.

    Returns:
        (N, T) int64; :data:`NO_SLOT` where the image has no such class.
    """
    depth = max([1, *(s.value or 1 for s in (*slots, *own) if s is not None and s.kind == "top")])
    ranked = np.stack([highest(row, depth) for row in logits]) if len(logits) else np.zeros((0, depth), np.int64)
    chosen = np.full((len(logits), len(slots)), NO_SLOT, dtype=np.int64)
    for i in range(len(logits)):
        for t, slot in enumerate(slots_of(slots, own[i])):
            if slot.kind in ("index", "name"):
                chosen[i, t] = slot.value or 0
            elif slot.kind == "label":
                label = labels[i]
                chosen[i, t] = NO_SLOT if label is None else label
            else:
                chosen[i, t] = ranked[i, (slot.value or 1) - 1 if slot.kind == "top" else 0]
    return chosen


def highest(logits: np.ndarray, count: int) -> np.ndarray:
    """The classes of the ``count`` highest of (C,) logits, best first; ties go to the lower index, NaN comes last."""
    logits = np.where(np.isnan(logits), -np.inf, logits)
    if count == 1 and len(logits):
        return np.array([logits.argmax()])
    if count < len(logits):  # sorting a thousand logits takes longer than all else that is done with them
        least = np.partition(logits, -count)[-count]
        candidates = np.flatnonzero(logits >= least)
    else:
        candidates = np.arange(len(logits))
    order = np.argsort(-logits[candidates], kind="stable")[:count]
    found: np.ndarray = candidates[order]
    return found


def slots_of(slots: Sequence[Slot], own: Slot | None) -> Sequence[Slot]:
    """The slots of one image: its own target instead of the run's, where it has one."""
    return slots if own is None else (own,)
