"""How many items go through a model at once: padded batches of one size, halved when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from camcli.device.memory import free_cached_memory
from camcli.errors import is_out_of_memory

In = TypeVar("In")
Out = TypeVar("Out")


def pad(batch: list[In], size: int) -> list[In]:
    """A batch, not empty, filled to ``size`` by repeating its last item."""
    return batch + batch[-1:] * (size - len(batch))


@dataclass
class BatchLimit:
    """How many items go through the model at once.

    Attributes:
        size: items at once; halved, and not raised again, when memory runs out.
    """

    size: int

    def fit(self, work: Callable[[int], Out], most: int | None = None) -> Out:
        """The result of ``work(size)``; where memory runs out, with half the size, and so on down to 1.

        Args:
            work: called with a number of items.
            most: how many items it may be, if fewer than ``size``.
        """
        size = min(self.size, most or self.size)
        while True:
            try:
                return work(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Outside the handler: until here the exception holds the frames, and so the tensors, of what failed.
            free_cached_memory()
            self.size = size = (size + 1) // 2

    def run(self, count: int, work: Callable[[slice], Out], most: int | None = None) -> Iterator[Out]:
        """The results of ``work`` on parts of ``count`` items; the last part may be shorter than the others."""
        return self._run(count, lambda part, size: work(part), min(count, most or count))

    def run_padded(
        self, items: Sequence[In], work: Callable[[list[In], int], Out], most: int | None = None
    ) -> Iterator[Out]:
        """The results of ``work`` on batches of equal size, the last one filled by repeating its last item.

        Another batch size changes the last bits of a result; other neighbours in a batch of the same size do not.

        Args:
            items: one or more.
            work: takes a batch, and how many of its items count.
            most: as in :meth:`fit`.
        """

        def padded(part: slice, size: int) -> Out:
            batch = list(items[part])
            return work(pad(batch, size), len(batch))

        return self._run(len(items), padded, most)

    def _run(self, count: int, work: Callable[[slice, int], Out], most: int | None) -> Iterator[Out]:
        def work_from(start: int, size: int) -> tuple[int, Out]:
            stop = min(start + size, count)
            return stop, work(slice(start, stop), size)

        start = 0
        while start < count:
            start, result = self.fit(partial(work_from, start), most)
            yield result
