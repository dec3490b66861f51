"""What can go wrong with a store, as an OSError with words for people."""

import errno
from typing import Literal

from camcli.storage.urls import mask_text

Cause = Literal["missing", "no-store", "refused", "unusable", "broken"]
"""Not there; its bucket is not there; no permission, no credentials, or a request that the store does not take; a
scheme or a package that is not there; anything that may pass."""

_NUMBERS: dict[Cause, int] = {
    "missing": errno.ENOENT, "no-store": errno.ENOENT, "refused": errno.EACCES, "unusable": errno.ENOSYS,
    "broken": errno.EIO,
}  # fmt: skip


class StorageError(OSError):
    """A file system behind a URL refused or failed; ``strerror`` is the reason, without secrets.

    What is not there is a :class:`FileNotFoundError` as well.

    Attributes:
        cause: what kind of reason it is.
    """

    def __new__(cls, cause: Cause, reason: str) -> "StorageError":
        """The error of a cause."""
        number = _NUMBERS[cause]
        return super().__new__(_MissingError if number == errno.ENOENT else cls, number, mask_text(reason))

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(_NUMBERS[cause], mask_text(reason))
        self.cause: Cause = cause

    def __reduce__(self) -> tuple[type["StorageError"], tuple[Cause, str]]:
        return StorageError, (self.cause, self.strerror or "")


class _MissingError(StorageError, FileNotFoundError):
    """What is not there."""
