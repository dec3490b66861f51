"""``--batch-size auto`` on CUDA: a fixed size, halved where it does not fit."""

from collections.abc import Callable

from camcli.device import BatchLimit

LARGEST = 128
"""Tried first. Larger batches give hardly more images a second, and more images fail at once when one of them does."""


def fitting_batch(rehearse: Callable[[int], object]) -> int:
    """:data:`LARGEST`, or the first of its halves whose rehearsal does not run out of memory.

    It depends neither on the number of images in a run nor on the memory that happens to be free: another batch size
    changes the last bits of a result.

    Args:
        rehearse: runs a batch of so many images; called once for each size that is tried.

    Raises:
        Exception: what an accelerator raises where not one image fits (:func:`camcli.errors.is_out_of_memory`).
    """
    limit = BatchLimit(LARGEST)
    limit.fit(rehearse)
    return limit.size
