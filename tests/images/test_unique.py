"""Names that come again: told apart, in little memory, and never taken for one another."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from camcli.images import unique
from camcli.images.unique import UniqueNames


def test_repeated_names_are_numbered_around_the_names_there_are() -> None:
    give = UniqueNames()
    assert [give(name) for name in ("x#2", "x", "x", "x", "x#2", "")] == ["x#2", "x", "x#3", "x#4", "x#2#2", ""]


def test_no_name_is_given_twice_whatever_comes() -> None:
    chance = random.Random(3)
    names = [f"{chance.choice('abc')}{'#' * chance.randrange(2)}{chance.randrange(1, 30)}" for _ in range(5000)]
    give = UniqueNames()
    given = [give(name) for name in names]
    assert len(set(given)) == len(names)
    assert [g for g in given if g in names[:1]] == names[:1]


def test_no_name_is_given_twice_where_numbers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "_MOST_NUMBERS", 2)
    give = UniqueNames()
    assert len({give(name) for name in "abcabcabcabc"}) == 12


def test_names_of_equal_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "_hash", lambda name: len(name))
    give = UniqueNames()
    assert [give("a"), give("b")] == ["a", "b#2"]


def test_surrogates_are_names_too() -> None:
    give = UniqueNames()
    assert [give("\udce9"), give("\ud800"), give("\udce9")] == ["\udce9", "\ud800", "\udce9#2"]


def test_a_name_costs_a_few_bytes() -> None:
    give = UniqueNames()
    tracemalloc.start()
    for number in range(100_000):
        give(f"photos/{number:09}.jpg")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * 100_000
