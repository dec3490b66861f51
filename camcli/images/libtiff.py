"""libtiff, which Pillow brings, prints its errors to stderr by itself; what they say is in our own message already."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import PIL
from PIL import Image

_MAPS = Path("/proc/self/maps")


@contextmanager
def quiet_libtiff() -> Iterator[None]:
    """Let libtiff print nothing, and as before afterwards; where it cannot be found, it prints."""
    library = _library()
    if library is None:
        yield
        return
    before = library.TIFFSetErrorHandler(None)
    try:
        yield
    finally:
        library.TIFFSetErrorHandler(before)


@cache
def _library() -> Any:
    """The libtiff that this process has loaded with Pillow; loading it again gives the same one."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
            library.TIFFSetErrorHandler.restype = ctypes.c_void_p
        except (OSError, AttributeError):
            continue
        return library
    return None


def _candidates() -> list[str]:
    Image.preinit()
    if _MAPS.exists():  # Linux: what is loaded, wherever it lies
        mapped = (line.split(maxsplit=5) for line in _MAPS.read_text("utf-8", "surrogateescape").splitlines())
        return list(dict.fromkeys(parts[5] for parts in mapped if len(parts) == 6 and "/libtiff" in parts[5]))
    return [str(path) for path in (Path(PIL.__file__).parent / ".dylibs").glob("libtiff*")]  # wheels of macOS
