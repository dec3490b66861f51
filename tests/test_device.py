"""How many items fit into memory at once."""

from __future__ import annotations

import weakref

import pytest
import torch

from camcli.device import BatchLimit


class Pages:
    """Something that takes memory."""


def test_memory_that_runs_out_halves_the_size_for_good() -> None:
    tried: list[int] = []

    def work(part: slice) -> list[int]:
        tried.append(part.stop - part.start)
        if tried[-1] > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return list(range(10)[part])

    limit = BatchLimit(9)
    assert [i for part in limit.run(5, work) for i in part] == [0, 1, 2, 3, 4]
    assert tried == [5, 3, 2, 2, 1]
    assert limit.size == 2
    assert [i for part in limit.run(3, work) for i in part] == [0, 1, 2]
    assert tried[5:] == [2, 1]


def test_fewer_at_once_for_one_piece_of_work_leave_the_size_as_it_is() -> None:
    limit = BatchLimit(8)
    assert list(limit.run(8, lambda part: part.stop - part.start, most=3)) == [3, 3, 2]
    assert limit.size == 8


def test_batches_are_filled_with_their_last_item() -> None:
    batches = list(BatchLimit(3).run_padded("abcde", lambda batch, count: (batch, count)))
    assert batches == [(["a", "b", "c"], 3), (["d", "e", "e"], 2)]
    assert list(BatchLimit(3).run_padded("", lambda batch, count: (batch, count))) == []


def test_halved_batches_are_filled_up_to_the_smaller_size() -> None:
    def work(batch: list[str], count: int) -> tuple[str, int]:
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")
        return "".join(batch), count

    limit = BatchLimit(4)
    assert list(limit.run_padded("abc", work)) == [("ab", 2), ("cc", 1)]
    assert limit.size == 2


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("CUDA error: device-side assert triggered")])
def test_other_errors_come_out_at_once(error: Exception) -> None:
    tried: list[int] = []

    def work(size: int) -> None:
        tried.append(size)
        raise error

    with pytest.raises(type(error)):
        BatchLimit(8).fit(work)
    assert tried == [8]


def test_one_item_that_does_not_fit_is_an_error() -> None:
    tried: list[int] = []

    def work(size: int) -> None:
        tried.append(size)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        BatchLimit(4).fit(work)
    assert tried == [4, 2, 1]


def test_nothing_of_an_attempt_is_held_while_the_next_one_runs() -> None:
    earlier: list[weakref.ref[Pages]] = []

    def work(size: int) -> int:
        assert all(pages() is None for pages in earlier)
        pages = Pages()
        earlier.append(weakref.ref(pages))
        if size > 1:
            raise MemoryError
        return size

    assert BatchLimit(4).fit(work) == 1
    assert len(earlier) == 3
