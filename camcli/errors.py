"""Every error `cam` raises on purpose, and the exit code it ends with.

    CamError                         exit 1
    ├── UsageError                   exit 2   wrong flag, file or name; raised before any image is explained
    │   ├── ConfigError              a flag, a value, a TOML key
    │   ├── SourceError              an --image-path that cannot be read, no input at all
    │   ├── ModelError               unknown model, weights not available, unusable output
    │   │   └── CheckpointError      a checkpoint that is damaged, unsafe or does not fit
    │   ├── LayerError               unknown or unsuitable target layer
    │   ├── MethodError              unknown method or option, or one that the model does not allow
    │   ├── TargetError              unknown class, ambiguous class name
    │   ├── DeviceError              the device asked for is not there, or has too little memory
    │   └── ResumeError              the run folder belongs to another configuration
    ├── OutputError                  exit 1   the run folder cannot be written (disk full, permissions)
    │   └── LockedError              another process is writing the run folder
    └── ImageError                   exit 3   one image that cannot be explained; becomes a failed item of the index

A message names the file, layer, flag or key, and says what to do next. The command line prints it as it stands,
without a traceback.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Literal, get_args

ErrorKind = Literal[
    "missing",  # the file is not there (any more)
    "unreadable",  # no permission, an I/O error, not a regular file
    "empty",  # zero bytes
    "not-an-image",  # no decoder recognises the content
    "truncated",  # the content ends too early; --allow-truncated explains it
    "corrupt",  # a decoder recognises the content and fails on it
    "too-large",  # more pixels than --max-pixels
    "unsupported",  # a valid file of a kind that is not read, or that needs an extra which is not installed
    "bands",  # other bands than the model takes; --bands says which it gets
    "changed",  # the file changed while it was being read
    "target",  # the image's own label or target names no class of the model
    "out-of-memory",  # decoding or explaining this image alone does not fit into memory
    "worker-died",  # a worker was lost on this image twice
    "internal",  # an unexpected exception around this one image
]
"""Values of ``items[].error.kind`` in the index. The list only ever grows."""

ERROR_KINDS: tuple[str, ...] = get_args(ErrorKind)


class CamError(Exception):
    """Base of all errors that `cam` reports to people."""

    exit_code = 1


class UsageError(CamError):
    """Wrong use: raised before any image is explained."""

    exit_code = 2


class ConfigError(UsageError):
    """A wrong flag, value or TOML key."""


class SourceError(UsageError):
    """An ``--image-path`` that cannot be read, or no input at all."""


class ModelError(UsageError):
    """An unknown model, weights that are not available, or an unusable output."""


class CheckpointError(ModelError):
    """A checkpoint that is damaged, unsafe or does not fit."""


class LayerError(UsageError):
    """An unknown or unsuitable target layer."""


class MethodError(UsageError):
    """An unknown method or option, or one that the model does not allow."""


class TargetError(UsageError):
    """An unknown class, or an ambiguous class name."""


class DeviceError(UsageError):
    """A requested device that is not available, or has no memory for the model and a few images."""


class ResumeError(UsageError):
    """The run folder belongs to another configuration."""


class OutputError(CamError):
    """The run folder cannot be written: the disk is full, permissions are missing."""


class LockedError(OutputError):
    """Another process is writing the run folder."""


class ImageError(CamError):
    """One image could not be explained; the run goes on and ends with exit code 3.

    Attributes:
        kind: one of :data:`ERROR_KINDS`.
        message: one line for people, without the kind.
    """

    exit_code = 3

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on an accelerator or on the host.

    Torch has no one type for it: its own allocators raise ``torch.OutOfMemoryError``, calls of the driver (pinned
    memory, a context) ``torch.AcceleratorError``, and cuBLAS, cuDNN, MIOpen and the host ``RuntimeError``.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


_OUT_OF_MEMORY = re.compile(
    r"out[ _]of[ _](?:(?:host|device|gpu|cuda)[ _])?memory|OutOf(?:Host|Device)?Memory|"
    r"(?:not enough|insufficient) memory|allocate memory|ErrorMemoryAllocation|rocblas_status_memory_error|"
    r"CUBLAS_STATUS_NOT_INITIALIZED when calling `?cublasCreate|"
    r"ALLOC(?:ATION)?_FAILED|StatusAllocFailed|invalid buffer size",  # the last one is Metal's
    re.IGNORECASE,
)


def describe_error(error: BaseException) -> str:
    """An exception that is not ours, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def is_device_lost(error: BaseException) -> bool:
    """Whether a device refuses all further work: after a CUDA error every later call in this process fails as well.

    After one that says that memory ran out, smaller work is still done.
    """
    is_of_driver = isinstance(error, RuntimeError) and any(words in str(error) for words in ("CUDA error", "HIP error"))
    return is_of_driver and not is_out_of_memory(error)


def device_lost(device: object, error: BaseException) -> CamError:
    """What ends a run whose device is lost."""
    return CamError(
        f"{device} failed ({describe_error(error)}). What was explained is kept: the same command continues."
    )


def printable(text: str, *, lines: bool = False) -> str:
    """The text with ``?`` for control characters and for bytes that are no character (in an index: U+FFFD).

    Args:
        text: a file name, or a message that may hold one.
        lines: keep ends of lines.
    """
    return "".join(c if (c.isprintable() and c != "\ufffd") or (lines and c == "\n") else "?" for c in text)


def near_misses(name: str, names: Iterable[str], count: int = 3, least: float = 0.55) -> list[str]:
    """The names most like a mistyped one, best first, ignoring case; none that is much less alike than the best.

    A name counts as a whole, or by its beginning: ``vit_tinny`` is like ``vit_tiny_patch16_224``.

    Args:
        name: as typed.
        names: those there are.
        count: at most so many.
        least: how alike they must be, from 0 to 1.
    """
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(typed := name.casefold())
    scores = {each: _similarity(matcher, typed, each.casefold()) for each in names}
    least = max(least, max(scores.values(), default=0.0) - _MOST_BEHIND)
    near = [each for each in scores if scores[each] >= least]
    return sorted(near, key=lambda each: (-scores[each], len(each)))[:count]


_MOST_BEHIND, _LEAST_OF_BEGINNING = 0.2, 0.85


def _similarity(matcher: difflib.SequenceMatcher[str], typed: str, name: str) -> float:
    matcher.set_seq1(name)
    alike = matcher.ratio() if matcher.quick_ratio() > 0.5 else 0.0  # an upper bound
    if len(typed) < 4 or len(name) <= len(typed) or name[0] != typed[0]:
        return alike
    matcher.set_seq1(name[: len(typed)])
    beginning = matcher.ratio()
    return max(alike, 0.97 * beginning) if beginning >= _LEAST_OF_BEGINNING else alike


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` Did you mean a, b?``, or the empty string where nothing is alike."""
    similar = near_misses(name, names)
    return f" Did you mean {', '.join(similar)}?" if similar else ""
