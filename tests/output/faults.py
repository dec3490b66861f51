"""Faults for real: system calls that fail or are the last of their process, a disk that is full."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

CALLS = ("open", "write", "fsync", "replace", "mkdir", "ftruncate", "lseek", "fstat", "unlink", "close")


@contextmanager
def fail_at(number: int, code: int, *, forever: bool = False, calls: tuple[str, ...] = CALLS) -> Iterator[list[str]]:
    """Let one system call fail: that of the given number (from 0) among the named ones.

    Args:
        number: which call.
        code: the ``errno`` it fails with.
        forever: let all later ones fail too, as on a disk that stays full; otherwise what is done about the failure
            meets a disk that works again.
        calls: the calls that are counted.

    Yields:
        The names of the calls that failed, as they do.
    """
    count = 0
    failed: list[str] = []

    def failing(name: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count - 1 < number or (count - 1 > number and not forever):
                return true(*args, **kwargs)
            failed.append(name)
            if name == "close":
                true(*args, **kwargs)  # a close that reports an error has closed all the same
            if name == "write":
                true(args[0], args[1][: len(args[1]) // 2])
            raise OSError(code, os.strerror(code))

        return call

    with ExitStack() as patches:
        for name in calls:
            patches.enter_context(mock.patch.object(os, name, failing(name, getattr(os, name))))
        yield failed


def die_at(number: int) -> None:
    """Let this process be killed (SIGKILL) just before one system call, that of the given number (from 0).

    A write is done by half. Between two calls nothing on the disk changes, so that these are all the instants at which
    a killed process can leave something else behind.
    """
    numbers = itertools.count()

    def dying(name: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(numbers) == number:
                if name == "write":
                    true(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
                while True:  # another thread may have got the signal
                    signal.pause()
            return true(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, dying(name, getattr(os, name)))


def _can_mount() -> bool:
    return (
        os.name == "posix"
        and os.geteuid() == 0
        and subprocess.run(["mount", "-V"], capture_output=True).returncode == 0
    )


needs_tmpfs = pytest.mark.skipif(not _can_mount(), reason="mounting a small disk needs root")


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[None]:
    """A disk of that size at a folder; skips the test where the system does not let us mount one."""
    mounting = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    mounted = subprocess.run(mounting, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, by its relative path; links are not followed."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found
