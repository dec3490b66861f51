"""Where the modules of a user's own code are looked for."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importable_from(folder: str, *, first: bool) -> Iterator[None]:
    """Search a folder for modules inside the block, before all others or after them.

    Only the folder is taken off ``sys.path`` afterwards: what the user's code adds to it stays.
    """
    added = first or folder not in sys.path
    if added:
        sys.path.insert(0 if first else len(sys.path), folder)
        importlib.invalidate_caches()
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)
