"""Photographs of ImageNet classes in a folder, and the half of them that no model is trained on."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_WORDNET = re.compile(r"n\d{8}")
_ENDINGS = (".jpeg", ".jpg", ".png", ".webp")
_STEP = 37
"""Photographs are taken in steps, since names sort by meaning; prime to the usual counts."""


def list_photos(folder: Path) -> list[Path]:
    """All photographs whose folder or file is named after a WordNet id, in the order of these names.

    Raises:
        SystemExit: there are none.
    """
    files = (path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and path.is_file())
    photos = sorted(path for path in files if _WORDNET.search(str(path.relative_to(folder))))
    if not photos:
        raise SystemExit(f"--photos {folder}: no photograph there has a WordNet id (n01514859) in its name.")
    return photos


def wordnet_id(path: Path) -> str:
    """The last id in the path, which is the file's where it has one."""
    return _WORDNET.findall(str(path))[-1]


def halves(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The photographs that models are trained on, and those that they are not."""
    return list(photos[0::2]), list(photos[1::2])


def spread(photos: Sequence[T]) -> list[T]:
    """The same photographs, so that any first ones are of different kinds."""
    step = next(step for step in itertools.count(_STEP) if math.gcd(step, max(1, len(photos))) == 1)
    return [photos[i * step % len(photos)] for i in range(len(photos))]
