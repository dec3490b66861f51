"""``--batch-size auto`` on an accelerator: how many images fit, tried from few upwards."""

from collections.abc import Callable

import torch

from camcli.device import BatchLimit

FIRST, MOST = 16, 256
"""Batches tried. Larger ones give no more images a second, and more images fail at once when one of them does."""
SHARE = 0.6
"""Of the free memory that a batch may take: methods with passes of their own need some, and so do other programs."""


def fitting_batch(peak: Callable[[int], int], free: int) -> int:
    """The largest tried batch that stays below a share of the free memory.

    It does not depend on the number of images in a run: one more file in a folder must not change the other results.

    Args:
        peak: runs a batch of so many images; the bytes it took at its highest.
        free: bytes.

    Raises:
        torch.cuda.OutOfMemoryError: not one image fits.
    """
    limit, size = BatchLimit(FIRST), FIRST
    while True:
        peak_bytes = limit.fit(peak)
        if limit.size < size or limit.size >= MOST or 2 * peak_bytes > SHARE * free:
            return limit.size
        limit.size = size = 2 * size


def cuda_batch(rehearse: Callable[[int], object], device: torch.device) -> int:
    """The same on a CUDA device; ``rehearse`` runs a batch."""

    def peak(size: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        rehearse(size)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before

    torch.cuda.empty_cache()
    return fitting_batch(peak, torch.cuda.mem_get_info(device)[0])
