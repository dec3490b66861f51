"""Classes that share a patch are proposed together, from a few images of each."""

from __future__ import annotations

import numpy as np
import pytest

from camcli.checks.shortcuts.many_classes import Pool, compare_classes

from ..test_shortcut import MARK, SIDE, crops, mark

CLASSES, EACH = 6, 5


def pool(marked: tuple[int, ...]) -> Pool:
    """Photographs, those of some classes with a mark at random places where the heat is."""
    rng = np.random.default_rng(3)
    parts = list(crops())
    pixels, heat, labels = [], [], []
    for number, index in enumerate(rng.permutation(len(parts))[: CLASSES * EACH].tolist()):
        picture, label = parts[index].copy(), number % CLASSES
        x, y = (int(edge) for edge in rng.integers(0, SIDE - MARK + 1, 2))
        if label in marked:
            picture[y : y + MARK, x : x + MARK] = mark()
        hot = np.full((SIDE, SIDE), 0.1, np.float32)
        hot[y : y + MARK, x : x + MARK] = 1
        pixels.append(picture)
        heat.append(hot)
        labels.append(label)
    return Pool(pixels, heat, np.array(labels))


@pytest.mark.parametrize("marked", [(1, 4), (0, 2, 5)])
def test_classes_that_share_a_mark_are_one_group_and_come_first(marked: tuple[int, ...]) -> None:
    promising = compare_classes(pool(marked), share=0.3, ratio=4.0, seed=0)
    assert promising.groups[0] == marked
    assert sorted(promising.order) == list(range(CLASSES))
    assert set(marked) <= set(promising.order[: 2 * len(marked)])


def test_a_mark_of_one_class_makes_no_group() -> None:
    promising = compare_classes(pool((3,)), share=0.3, ratio=4.0, seed=0)
    assert promising.groups == []
    assert 3 in promising.order[:2]
