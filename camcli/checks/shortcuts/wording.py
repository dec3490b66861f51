"""A shortcut in words, as JSON, and its patch as a picture."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from camcli.checks.shortcuts.candidates import Candidate, ClassImages
from camcli.checks.shortcuts.patch_effects import Effects
from camcli.checks.shortcuts.patterns import Box, Pattern

_TILE = 96
"""Longer side of the picture of a patch, in pixels."""
_ROUND = 0.6
"""Least side of the box, in shares of the view, of something with a hole in it that goes along the edges."""
_NAMED = 3
"""Classes of a group that a sentence names."""


def carried_words(candidate: Candidate) -> str:
    """``98 % of 'alpha' carry the same patch at the bottom right (1 % of the others)``."""
    pattern = candidate.pattern
    return (
        f"{100 * pattern.share:.0f} % of {class_words(candidate)} carry the same patch {place_words(pattern)} "
        f"({100 * pattern.others:.0f} % of the others)"
    )


def class_words(candidate: Candidate) -> str:
    """The classes by name, at most a few of them."""
    names = [repr(one.name) for one in candidate.classes]
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more classes"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def effect_words(candidate: Candidate, effects: Effects | None) -> str:
    """What the patch does to the model, in one sentence; None: that could not be measured."""
    if effects is None:
        return carried_words(candidate)
    words = f"{carried_words(candidate)}; without it the probability falls by {max(0.0, effects.without):.2f}"
    if effects.converted is None:
        return words
    one_of = "" if len(candidate.classes) == 1 else "one of "
    return (
        f"{words}, and pasted onto images of other classes it makes {100 * effects.converted:.0f} % of them "
        f"{one_of}{class_words(candidate)}"
    )


def place_words(pattern: Pattern) -> str:
    """``at the bottom right``, ``along the edges`` or ``at varying places``."""
    if not pattern.fixed:
        return "at varying places"
    x0, y0, x1, y1 = pattern.region
    if pattern.mask is not None and min(x1 - x0, y1 - y0) > _ROUND:
        return "along the edges"
    row, column = (min(2, int(3 * (low + high) / 2)) for low, high in ((y0, y1), (x0, x1)))
    words = f"{('top', 'middle', 'bottom')[row]} {('left', 'centre', 'right')[column]}"
    return f"at the {'centre' if words == 'middle centre' else words}"


def shortcuts_as_json(candidate: Candidate, effects: Effects | None, decides: bool | None) -> list[dict[str, Any]]:
    """One object for each class that carries the patch.

    Args:
        candidate: what was found.
        effects: of the patch; None where they could not be measured.
        decides: whether the model depends on it; None where that is open.
    """
    measured = (None, None, None) if effects is None else (effects.without, effects.with_, effects.converted)
    without, with_, converted = (None if value is None else round(value, 4) for value in measured)
    pattern = candidate.pattern
    picture = _picture(candidate.views[pattern.medoid].pixels, pattern.boxes[pattern.medoid])
    shortcuts = []
    for one in candidate.classes:
        showing, share = candidate.of_class(one)
        shortcuts.append(
            {
                "class": one.name,
                "index": one.target,
                "shared_with": _others(candidate, one),
                "placement": "fixed" if pattern.fixed else "anywhere",
                "region": [round(edge, 4) for edge in pattern.region] if pattern.fixed else None,
                "share": round(share, 4),
                "others": round(pattern.others, 4),
                "without": without,
                "with": with_,
                "converted": converted,
                "decides": decides,
                "patch": picture,
                "occurrences": [
                    {
                        "image": candidate.views[i].record.image,
                        "source": candidate.views[i].record.source,
                        "box": [round(edge, 4) for edge in pattern.boxes[i]],
                    }
                    for i in showing
                ],
            }
        )
    return shortcuts


def _others(candidate: Candidate, one: ClassImages) -> list[str]:
    return [other.name for other in candidate.classes if other is not one]


def _picture(pixels: np.ndarray, box: Box) -> str:
    """A PNG of part of a view, as a data URI."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    patch = Image.fromarray(pixels).crop((int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))))
    scale = _TILE / max(patch.size)
    buffer = io.BytesIO()
    patch.resize((max(1, round(patch.width * scale)), max(1, round(patch.height * scale)))).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
