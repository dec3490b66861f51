"""Sources that are transferred as they are iterated: a look at the first items costs no second transfer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from camcli.images.entry import SourceItem
from camcli.images.resumed import Resumed

ITEMS = [None if number % 5 == 4 else SourceItem(f"{number}.jpg", "t.tar") for number in range(40)]


class Transfer:
    """Counts transfers and what they have read."""

    def __init__(self, items: list[SourceItem | None], fails: bool = False) -> None:
        self.items, self.fails = items, fails
        self.begun = self.read = 0

    def __call__(self) -> Iterator[SourceItem | None]:
        self.begun += 1
        for item in self.items:
            self.read += 1
            yield item
        if self.fails:
            self.fails = False
            raise OSError("broken off")


def test_a_look_is_not_repeated() -> None:
    transfer = Transfer(ITEMS)
    source = Resumed(transfer)
    for count in (1, 5, 16, 2):
        assert list(islice(source, count)) == ITEMS[:count]
    assert (transfer.begun, transfer.read) == (1, 16)
    assert list(source) == ITEMS
    assert (transfer.begun, transfer.read) == (1, 40)
    assert list(source) == ITEMS
    assert transfer.begun == 2


@pytest.mark.parametrize("count", [0, 3])
def test_short_sources(count: int) -> None:
    transfer = Transfer(ITEMS[:count])
    source = Resumed(transfer)
    assert next(iter(source), None) == next(iter(ITEMS[:count]), None)
    assert list(source) == ITEMS[:count] == list(source)


def test_what_fails_begins_again() -> None:
    source = Resumed(Transfer(ITEMS[:3], fails=True))
    with pytest.raises(OSError, match="broken off"):
        list(source)
    assert list(source) == ITEMS[:3]
