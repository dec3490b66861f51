"""Where in the user's own code something happened: file, line and statement, not a line of torch or of this package."""

import linecache
import os
import sysconfig
import traceback
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType


@dataclass(frozen=True)
class Place:
    """A line of code.

    Attributes:
        file: as Python names it.
        line: from 1.
        statement: the line itself, without indentation; empty where the source is not at hand.
    """

    file: str
    line: int
    statement: str

    def __str__(self) -> str:
        path = os.path.relpath(self.file) if self.file.startswith(os.getcwd() + os.sep) else self.file
        return f"{path}, line {self.line}" + (f": {self.statement}" if self.statement else "")


def place_of_error(error: BaseException) -> Place | None:
    """The innermost line of the user's own code that an exception went through; None where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_own(frame.filename)]
    own = own or [frame for frame in frames if _is_of_another_package(frame.filename)]
    return place_at(own[-1].filename, own[-1].lineno or 0) if own else None


def place_of_frame(frame: FrameType | None) -> Place | None:
    """The line of the user's own code that runs in a frame, or called it; None where this package comes first."""
    while frame is not None and not _is_within(frame.f_code.co_filename, _PACKAGE):
        if is_own(frame.f_code.co_filename):
            return place_at(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def place_of_function(code: CodeType) -> Place:
    """The line on which a function begins; that of its ``def`` where decorators stand above it."""
    line = code.co_firstlineno
    for later in range(line, line + 20):
        if linecache.getline(code.co_filename, later).lstrip().startswith(("def ", "async def ")):
            return place_at(code.co_filename, later)
    return place_at(code.co_filename, line)


def place_at(file: str, line: int) -> Place:
    """A line of a file."""
    return Place(file, line, linecache.getline(file, line).strip())


def describe_failure(error: BaseException) -> str:
    """An exception in the user's code in one line: its class, its message, and where it was raised."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":. ")
    place = place_of_error(error)
    return text if place is None else f"{text} ({place})"


def is_raised_by_others(error: BaseException) -> bool:
    """Whether an exception was raised outside this package: by a library, or by the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    is_of_library = type(error).__module__.split(".")[0] not in ("builtins", __package__)  # also where C code raises it
    return is_of_library or (bool(frames) and not _is_within(frames[-1].filename, _PACKAGE))


@cache
def is_own(file: str) -> bool:
    """Whether a file is the user's: neither of this package, nor of Python, nor installed."""
    return not file.startswith("<") and not any(_is_within(file, folder) for folder in (_PACKAGE, *_installed()))


def _is_of_another_package(file: str) -> bool:
    parts = os.path.normpath(file).split(os.sep)
    is_installed = "site-packages" in parts or "dist-packages" in parts
    return is_installed and not _is_within(file, _PACKAGE) and not _LIBRARIES & set(parts)


@cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_within(file: str, folder: str) -> bool:
    real = os.path.realpath(file)
    return real.startswith(folder + os.sep) or ("site-packages" in real.split(os.sep) and folder != _PACKAGE)


_PACKAGE = os.path.dirname(os.path.realpath(__file__))
_LIBRARIES = {"torch", "torchvision", "timm", "numpy", "PIL", "safetensors", "huggingface_hub"}
