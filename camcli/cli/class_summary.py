"""A summary of many images by predicted class, instead of a line for each image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from camcli.schemas.index import ImageRow

_LINES = 10
"""Classes that are printed; the index has all."""
_NAME = 36


@dataclass
class _Predicted:
    name: str
    images: int = 0
    probability: float = 0.0  # summed
    labelled: int = 0
    correct: int = 0


class ClassSummary:
    """Counts what images were taken for; memory grows with the number of classes alone."""

    def __init__(self) -> None:
        self._classes: dict[int, _Predicted] = defaultdict(lambda: _Predicted(""))

    def add(self, row: ImageRow) -> None:
        """Count an image; one that failed, or whose prediction has no probability, is left out."""
        top = row["predictions"][0] if row["predictions"] else None
        if top is None or top["probability"] is None:
            return
        one = self._classes[top["index"]]
        one.name = top["name"] or f"class {top['index']}"
        one.images += 1
        one.probability += top["probability"]
        one.labelled += row["correct"] is not None
        one.correct += row["correct"] is True

    def lines(self) -> list[str]:
        """A table, most images first; empty where nothing was counted."""
        if not self._classes:
            return []
        ordered = sorted(self._classes.values(), key=lambda one: (-one.images, one.name))
        has_labels = any(one.labelled for one in ordered)
        lines = [f"{'top prediction':<{_NAME}}  images  mean probability" + "  as labelled" * has_labels]
        for one in ordered[:_LINES]:
            share = f"{100 * one.probability / one.images:.1f} %"
            right = f"{one.correct} of {one.labelled}" if one.labelled else ""
            lines.append(
                f"{_cut(one.name):<{_NAME}}  {one.images:>6,}  {share:>16}" + (f"  {right:>11}" if has_labels else "")
            )
        others = ordered[_LINES:]
        if others:
            images = sum(one.images for one in others)
            lines.append(f"{len(others):,} other class{'es' * (len(others) > 1)} of {images:,} images: see the index")
        return [line.rstrip() for line in lines]


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
