"""Random numbers of code that is not ours: whether it draws any, and that it draws the same again.

The generators are those that such code shares: torch's (of the CPU and of every device), NumPy's and Python's. A
generator of its own, a counter or the clock is out of reach; what depends on them cannot be repeated.
"""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

Output = TypeVar("Output")
Kind = Literal["constant", "random", "unrepeatable"]

_LOCK = threading.RLock()  # the generators are those of the process: threads take turns


@dataclass(frozen=True)
class Repetition(Generic[Output]):
    """What running the same twice showed.

    Attributes:
        first, second: both outputs, from different seeds.
        kind: ``constant``: equal, and no random number was drawn; ``random``: random numbers were drawn, and a seed
            decides them; ``unrepeatable``: it differs, and no seed decides it.
    """

    first: Output
    second: Output
    kind: Kind


def repeat(run: Callable[[], Output], equal: Callable[[Output, Output], bool]) -> Repetition[Output]:
    """Run something twice; a third time where it draws random numbers. The generators are left as they were.

    Args:
        run: what is run.
        equal: compares two outputs.
    """
    first, is_drawing = watch_draws(run)
    with seeded(1):
        second = run()
    if not is_drawing:
        return Repetition(first, second, "constant" if equal(first, second) else "unrepeatable")
    with seeded(0):  # random numbers that happen to change nothing here may do so for another input
        return Repetition(first, second, "random" if equal(first, run()) else "unrepeatable")


def watch_draws(run: Callable[[], Output]) -> tuple[Output, bool]:
    """Run something once: its output, and whether it draws random numbers. The generators are left as they were."""
    with seeded(0):
        before = _states()
        return run(), not _are_equal(before, _states())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the shared generators start from a seed; afterwards they are as before. One thread at a time."""
    with _LOCK:
        before = _states()
        _seed(seed)
        try:
            yield
        finally:
            _restore(before)


def seed_from(content: bytes, seed: int) -> int:
    """A seed of content and ``--seed``, below 2⁶³."""
    digest = hashlib.sha256(b"%d:" % seed + content).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _generators() -> list[Any]:
    import torch

    generators = [torch.default_generator]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        generators += torch.cuda.default_generators
    if torch.backends.mps.is_available():
        generators.append(torch.mps._get_default_mps_generator())
    return generators


def _states() -> tuple[Any, ...]:
    numbers = np.random.get_state(legacy=False)
    return random.getstate(), numbers, [generator.get_state() for generator in _generators()]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    for generator in _generators():
        generator.manual_seed(seed)


def _restore(states: tuple[Any, ...]) -> None:
    python, numbers, tensors = states
    random.setstate(python)
    np.random.set_state(numbers)
    for generator, state in zip(_generators(), tensors, strict=False):  # CUDA may have been initialised meanwhile
        generator.set_state(state)


def _are_equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return (
        one[0] == other[0]
        and one[1]["state"]["pos"] == other[1]["state"]["pos"]
        and one[1].get("gauss") == other[1].get("gauss")
        and np.array_equal(one[1]["state"]["key"], other[1]["state"]["key"])
        and all(a.equal(b) for a, b in zip(one[2], other[2], strict=False))
    )
