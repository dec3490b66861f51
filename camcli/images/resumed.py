"""A source that is transferred as it is iterated: what a look at its first items has transferred is used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from camcli.images.entry import SourceItem

_MOST_KEPT = 16


class Resumed:
    """The items of such a source; one iteration at a time.

    An iteration that stops within the first few items leaves the transfer open: the next one begins with the items that
    were transferred, and goes on from there. An iteration that comes further has the transfer for itself.

    Args:
        begin: begins a transfer.
    """

    def __init__(self, begin: Callable[[], Iterator[SourceItem | None]]) -> None:
        self._begin = begin
        self._items: list[SourceItem | None] = []
        self._rest: Iterator[SourceItem | None] | None = None

    def __iter__(self) -> Iterator[SourceItem | None]:
        rest, items = self._rest or self._begin(), self._items
        self._rest = rest
        for place in range(_MOST_KEPT):
            if place == len(items):
                try:
                    items.append(next(rest))
                except StopIteration:
                    break
                except Exception:
                    self._forget()
                    raise
            yield items[place]
        self._forget()
        yield from rest

    def _forget(self) -> None:
        self._items, self._rest = [], None
