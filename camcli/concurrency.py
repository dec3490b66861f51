"""Threads of the stream: how many, ordered work with back-pressure, busy times, a way to stop."""

import atexit
import ctypes
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


MOST_BYTES = 1 << 28
"""Bytes that the items between two stages hold at most, about, however large the images are."""
MOST_WORKERS = 16
"""Threads that decode, and as many that write, unless more are asked for."""
_GUESS = 1 << 25  # bytes of an image, until the first one is measured
_opencv_lock = threading.Lock()
_opencv_threads: list[int] = []  # as each run that is under way found them: one program may have several
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def cores() -> int:
    """The cores that this process may use: fewer than the machine has in a job of a cluster."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Threads that decode, and as many that write, where their number is not asked for: one for each core, 2 to 16."""
    return min(MOST_WORKERS, max(2, cores()))


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[In], Out],
    items: Iterable[In],
    window: int,
    size_of: Callable[[In | Out], int] | None = None,
) -> Generator[Out, None, None]:
    """Do the work in threads, at most ``window`` items ahead of the reader, and yield the results in order.

    Nothing is pulled from ``items`` before the reader asks for a result, so a slow reader slows the whole chain and
    memory stays bounded. ``items`` is only ever touched by the reader's thread. Closing it drops what has not started.
    Where ``items`` fails, what came before is still finished and yielded.

    Args:
        pool: the threads.
        work: what is done with an item.
        items: where they come from.
        window: items ahead of the reader.
        size_of: bytes that an item or a result holds; fewer items are in flight where the latest were so large that
            they would exceed :data:`MOST_BYTES` together.
    """
    pending: deque[Future[Out]] = deque()
    latest = deque([0 if size_of is None else _GUESS], maxlen=window)

    def measure(thing: Any) -> Any:
        if size_of is not None:
            latest.append(size_of(thing))
        return thing

    def is_full() -> bool:
        return len(pending) >= window or len(pending) * max(latest) >= MOST_BYTES

    source = iter(items)
    try:
        while True:
            try:
                item = next(source)
            except Exception as error:  # StopIteration among them
                end = error
                break
            pending.append(pool.submit(work, measure(item)))
            while pending and is_full():
                yield measure(pending.popleft().result())
        while pending:
            yield pending.popleft().result()
        if not isinstance(end, StopIteration):
            raise end
    finally:
        for future in pending:
            future.cancel()


def lower_priority() -> None:
    """Lower the priority of the calling thread below that of the model's threads.

    A layer of a network is as fast as the slowest of the threads that compute it: one that waits for a core that a
    decoder uses delays all the others.
    """
    if sys.platform == "linux":  # elsewhere priorities are those of whole processes
        thread = threading.get_native_id()
        with suppress(PermissionError):  # where that is not allowed, all keep the same priority
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + 5))


def keep_freed_memory() -> None:
    """Have this process keep the memory it frees, as the commands of ``cam`` do.

    The C library of Linux returns large blocks to the system at once. The activations of every batch then come as new
    pages, one page fault for each 4 KiB, which can take as long as the model itself; kept, they serve the next batch,
    and a run holds no more memory than before, since its blocks are of the same sizes again and again.

    Not part of the public interface, because it changes the allocator of the whole process.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL(None)
            library.mallopt(_M_MMAP_MAX, 0)
            library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def be_process(work: Callable[[], object]) -> NoReturn:
    """Do the work of this process, and end it with the code of ``SystemExit``, without taking it apart.

    Threads are waited for, functions of ``atexit`` run and streams are flushed, as ever. But to free every object of
    torch one by one takes half a second and more, and the system frees them all at once.
    """
    code = 0
    try:
        work()
    except SystemExit as leaving:
        if isinstance(leaving.code, str):  # a message, which the interpreter prints
            raise
        code = leaving.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):  # what cannot be written is reported by the interpreter
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """Have OpenCV compute each of its functions in the thread that calls it; as before after the last one that leaves.

    Threads of ours draw a picture each. Those of OpenCV would wait for each other at every step of every picture, and
    do so busily: on two cores, about a tenth of the processor time of a run with a small model.
    """
    import cv2

    with _opencv_lock:
        _opencv_threads.append(cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _opencv_lock:
            threads = _opencv_threads.pop()
            if not _opencv_threads:
                cv2.setNumThreads(threads)


class Clock:
    """Busy seconds of each stage, summed over threads."""

    def __init__(self, stages: Iterable[str]) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured otherwise."""
        with self._lock:
            self._seconds[stage] += seconds

    def seconds(self) -> dict[str, float]:
        """Of each stage so far, to a tenth of a millisecond."""
        with self._lock:
            return {stage: round(spent, 4) for stage, spent in self._seconds.items()}


class Stop:
    """Set once by a signal; the stream takes no new image after that and finishes what is in flight.

    Attributes:
        signal: the first signal that came.
        flowing: whether images are in flight; before that, a run may be left at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.flowing = False

    def request(self, signal: int) -> None:
        """Ask the stream to stop; the first signal counts."""
        if self.signal is None:
            self.signal = signal

    def __bool__(self) -> bool:
        return self.signal is not None
