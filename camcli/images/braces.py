"""Brace patterns of file names, as shells and WebDataset have them: ``train-{0000..0099}.tar``, ``{a,b}.tar``."""

import re
from collections.abc import Iterator
from itertools import chain

from camcli.errors import SourceError

MOST_FILES = 1_000_000
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")


def has_braces(pattern: str) -> bool:
    """Whether a pattern has braces that stand for several names."""
    return next(_expand(pattern), pattern) != pattern


def expand_braces(pattern: str) -> list[str]:
    """Every name that a pattern stands for, in its order; one without braces stands for itself.

    ``{a,b}`` are alternatives and may be nested; ``{0..9}``, ``{000..099}`` and ``{0..100..10}`` are numbers, written
    with as many digits as the longer bound where one of them begins with a zero. Other braces are part of the name.

    Raises:
        SourceError: more than a million names.
    """
    names: list[str] = []
    for name in _expand(pattern):
        if len(names) == MOST_FILES:
            raise SourceError(f"--image-path {pattern}: stands for more than {MOST_FILES:,} files. Narrow the pattern.")
        names.append(name)
    return names


def _expand(pattern: str) -> Iterator[str]:
    start, end = _first_braces(pattern)
    if end < 0:
        yield pattern
        return
    before, after = pattern[:start], pattern[end + 1 :]
    for middle in _alternatives(pattern[start + 1 : end]):
        for rest in _expand(after):
            yield before + middle + rest


def _first_braces(pattern: str) -> tuple[int, int]:
    """Where the first braces that stand for several names open and close; (-1, -1) where there are none."""
    for start in (place for place, character in enumerate(pattern) if character == "{"):
        depth = 0
        for place in range(start, len(pattern)):
            depth += (pattern[place] == "{") - (pattern[place] == "}")
            if depth == 0:
                inside = pattern[start + 1 : place]
                if _RANGE.fullmatch(inside) or len(_split(inside)) > 1:
                    return start, place
                break
    return -1, -1


def _alternatives(inside: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return chain.from_iterable(map(_expand, _split(inside)))
    first, last, step = numbers[1], numbers[2], abs(int(numbers[3] or 1)) or 1
    padded = any(re.match(r"-?0\d", bound) for bound in (first, last))
    width = max(len(first), len(last)) if padded else 0
    low, high = int(first), int(last)
    values = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
    return (f"{value:0{width}d}" for value in values)


def _split(inside: str) -> list[str]:
    """At the commas that are in no inner braces."""
    parts, depth = [""], 0
    for character in inside:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
