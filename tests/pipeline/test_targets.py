"""The --target language and the class it chooses for each image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camcli.errors import TargetError
from camcli.models.names import ClassNames
from camcli.pipeline.targets import NO_TARGET, TargetSpec, choose_targets, highest, parse_target


class Names:
    names = ("cat", "dog", "hook, claw", "hook", "7")

    def find(self, text: str) -> int:
        if text not in self.names:
            raise TargetError(f"unknown class {text}")
        return self.names.index(text)


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("predicted", [TargetSpec("predicted")]),
        ("3", [TargetSpec("index", 3)]),
        ("dog", [TargetSpec("name", 1)]),
        ("label", [TargetSpec("label")]),
        ("top:2", [TargetSpec("top", 1), TargetSpec("top", 2)]),
        ("predicted,dog, 3", [TargetSpec("predicted"), TargetSpec("name", 1), TargetSpec("index", 3)]),
        ("hook, claw", [TargetSpec("name", 2)]),  # an exact name wins over splitting at commas
        ("3.0", [TargetSpec("index", 3)]),  # as pandas writes a column with gaps
        ("name:7", [TargetSpec("name", 4)]),  # name: forces a name
        ("predicted,predicted", [TargetSpec("predicted")]),
    ],
)
def test_parse(text: str, specs: list[TargetSpec]) -> None:
    assert list(parse_target(text, Names(), 5)) == specs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "classes are 0 to 4"),
        ("-1", "classes are 0 to 4"),
        ("top:0", "top:K"),
        ("top:6", "1 to 5"),
        ("", "give predicted"),
        ("wolf", "unknown"),
    ],
)
def test_wrong_targets(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse_target(text, Names(), 5)


def test_a_name_without_names_says_what_to_do() -> None:
    with pytest.raises(TargetError, match="--class-names"):
        parse_target("dog", None, 5)


def test_each_image_of_a_batch_has_its_own_target() -> None:
    logits = np.array([[0, 3, 1, 2], [5, 1, 9, 2], [1, 1, 1, 1]], np.float32)
    specs = parse_target("predicted,label,top:3", None, 4)
    chosen = choose_targets(torch.from_numpy(logits), specs, [3, None, 0], [None, None, TargetSpec("index", 2)])
    assert chosen.tolist() == [
        [1, 3, 1, 3, 2],
        [2, NO_TARGET, 2, 0, 3],
        [2, NO_TARGET, NO_TARGET, NO_TARGET, NO_TARGET],
    ]


def test_ties_go_to_the_lower_index() -> None:
    assert choose_targets(torch.zeros(1, 4), parse_target("top:3", None, 4), [None], [None]).tolist() == [[0, 1, 2]]


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, math.inf, -1e30, math.nan]), max_size=12),
    st.integers(min_value=1, max_value=15),
)
def test_the_highest_are_those_of_a_plain_stable_sort(logits: list[float], count: int) -> None:
    plain = sorted(range(len(logits)), key=lambda i: (math.isnan(logits[i]), -logits[i], i))
    assert highest(np.array(logits, np.float32), count).tolist() == plain[:count]


def test_keys_are_distinct_path_levels() -> None:
    specs = parse_target("predicted,label,top:2,3,dog", Names(), 5)
    assert [spec.key for spec in specs] == ["predicted", "label", "top1", "top2", "class-3", "class-1"]


def test_a_mistyped_keyword_is_suggested_before_similar_classes() -> None:
    with pytest.raises(TargetError) as caught:
        parse_target("lable", ClassNames(["ladle", "vale", "cat"]), 3)
    words = "--target lable: no such class. Did you mean label? Classes with a similar name are ladle, vale."
    assert str(caught.value) == words
    with pytest.raises(TargetError, match=r"Did you mean predicted\? Give a class index"):
        parse_target("predcited", None, 3)
    with pytest.raises(TargetError, match=r"no class is called 'catt'\. Did you mean cat\?$"):
        parse_target("catt", ClassNames(["ladle", "vale", "cat"]), 3)
    assert parse_target("table", ClassNames(["table"]), 1) == (TargetSpec("name", 0),)
