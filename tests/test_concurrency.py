"""Ordered work in threads: order, bounds, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from camcli.concurrency import MOST_BYTES, Clock, Stop, default_workers, in_order, lower_priority, opencv_in_one_thread


@pytest.mark.parametrize(("allowed", "workers"), [(1, 2), (2, 2), (5, 5), (16, 16), (64, 16)])
def test_cores_that_the_process_may_not_use_do_not_count(
    allowed: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert default_workers() == workers


def test_results_come_in_order_whatever_finishes_first() -> None:
    done, finished = [threading.Event() for _ in range(20)], []

    def work(n: int) -> int:
        if n % 2 == 0:
            assert done[n + 1].wait(120)
        finished.append(n)
        done[n].set()
        return n

    with ThreadPoolExecutor(4) as pool:
        assert list(in_order(pool, work, range(20), 5)) == list(range(20))
    assert all(finished.index(n + 1) < finished.index(n) for n in range(0, 20, 2))


def test_no_more_than_a_window_is_pulled_ahead_of_the_reader() -> None:
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        for n in range(100):
            pulled += 1
            yield n

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, lambda n: n, items(), 7)
        assert pulled == 0
        next(results)
        assert pulled == 7
        next(results)
        assert pulled == 8
        results.close()


@pytest.mark.parametrize("heavy", ["items", "results"])
def test_fewer_are_let_ahead_where_they_are_heavy(heavy: str) -> None:
    pulled = 0

    def items() -> Iterator[str]:
        nonlocal pulled
        for _ in range(40):
            pulled += 1
            yield "items"

    def weigh(thing: str) -> int:
        return MOST_BYTES // 3 + 1 if thing == heavy else 0

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, lambda _: "results", items(), 20, weigh)
        next(results)
        first = pulled
        for count in range(2, 12):
            next(results)
            assert pulled - count < 3 or pulled == first
        results.close()
    assert first == (3 if heavy == "items" else 8)  # before the first result nothing is known of it


def test_light_ones_use_the_whole_window() -> None:
    with ThreadPoolExecutor(2) as pool:
        items = iter(range(100))
        results = in_order(pool, lambda n: n, items, 12, lambda _: 1000)
        for _ in range(30):
            next(results)
        assert next(items) == 30 - 1 + 12
        results.close()


def test_items_are_pulled_in_the_readers_thread() -> None:
    seen = set()

    def items() -> Iterator[int]:
        for n in range(10):
            seen.add(threading.get_ident())
            yield n

    with ThreadPoolExecutor(2) as pool:
        list(in_order(pool, lambda n: n, items(), 3))
    assert seen == {threading.get_ident()}


def test_an_error_reaches_the_reader_in_its_place() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise OSError("disk full")
        return n

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, work, range(10), 4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="disk full"):
            next(results)


def test_where_the_items_fail_what_came_before_is_finished() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("the list ends here")

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, lambda n: n, items(), 4)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(OSError, match="ends here"):
            next(results)


def test_clock_adds_up_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, times, together = Clock(["decode", "write"]), threading.local(), threading.Barrier(4, timeout=120)

    def counter() -> float:
        """A quarter of a second later each time a thread looks."""
        times.now = getattr(times, "now", 0.0) + 0.25
        return float(times.now)

    def work(_: int) -> None:
        with clock("decode"):
            together.wait()

    monkeypatch.setattr(time, "perf_counter", counter)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert clock.seconds() == {"decode": 8 * 0.25, "write": 0}


def test_the_first_signal_counts() -> None:
    stop = Stop()
    assert not stop
    stop.request(2)
    stop.request(15)
    assert stop
    assert stop.signal == 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_workers_lower_their_priority_and_this_thread_does_not() -> None:
    def of_this_thread() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = of_this_thread()
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        assert pool.submit(of_this_thread).result() == min(19, before + 5)
    assert of_this_thread() == before


KEEPING = """
import os
from camcli.concurrency import keep_freed_memory
keep_freed_memory()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def use(blocks):
    for _ in range(blocks):
        bytearray(b"x") * (50 << 20)

first = resident()
use(20)
kept = resident()
assert kept > first + (40 << 20)  # else the system would have it back
use(200)
assert resident() < kept + (10 << 20)  # what was kept serves the next
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="tells of the C library of Linux")
def test_freed_memory_is_kept_and_used_again() -> None:
    subprocess.run([sys.executable, "-c", KEEPING], check=True)


def test_opencv_has_one_thread_until_the_last_run_has_ended() -> None:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        first, second = opencv_in_one_thread(), opencv_in_one_thread()
        first.__enter__()
        second.__enter__()
        assert cv2.getNumThreads() == 1
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


ENDING = """
import atexit, sys, threading, time
from camcli.concurrency import be_process

class Object:
    def __del__(self):
        print("taken apart")

kept = Object()
atexit.register(print, "at exit")

def work():
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print("work")
    {ending}

be_process(work)
"""


@pytest.mark.parametrize(
    ("ending", "code", "err"),
    [("pass", 0, ""), ("sys.exit()", 0, ""), ("sys.exit(3)", 3, ""), ("sys.exit('why')", 1, "why\n")],
)
def test_a_process_ends_as_ever_without_being_taken_apart(ending: str, code: int, err: str) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING.format(ending=ending)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, err)
    assert done.stdout.split("\n")[:3] == ["work", "thread", "at exit"]
    assert ("taken apart" in done.stdout) == bool(err)
