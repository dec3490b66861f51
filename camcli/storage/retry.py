"""Requests to a store, repeated a bounded number of times where the reason may pass."""

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from camcli.errors import describe_error
from camcli.storage.errors import StorageError
from camcli.storage.urls import scheme_of

Out = TypeVar("Out")

ATTEMPTS = 3
"""Attempts at one request in all, with pauses of 0.3 and 0.9 seconds on average. The libraries of s3, gs and hf
repeat a request by themselves as well, but for what breaks off in the middle of an answer."""
FIRST_PAUSE = 0.3

_TEMPORARY_STATUS = (408, 425, 429)
_LASTING = (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EACCES, errno.ENAMETOOLONG)
_NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError", "NoAuthTokenError",
    "DefaultCredentialsError", "CredentialRetrievalError", "SSOTokenLoadError",
)  # fmt: skip
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run `aws configure`; a public bucket is "
    "read with FSSPEC_S3_ANON=true",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; a public bucket is read "
    "with FSSPEC_GS_TOKEN=anon",
    "hf": "run `hf auth login`, or set HF_TOKEN",
}
_ALIASES = {"s3a": "s3", "gcs": "gs"}


def with_retries(url: str, work: Callable[[], Out]) -> Out:
    """Do something with a store, again where it fails for a reason that may pass.

    Args:
        url: what it is about, for its scheme.
        work: does it; called again as a whole.

    Raises:
        StorageError: it failed, as often as allowed.
        MemoryError: what was read does not fit into memory.
    """
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except MemoryError:
            raise
        except Exception as error:  # each library has errors of its own
            reason = explain(error, url)
            if reason.cause != "broken":
                raise reason from error
            if attempt + 1 == ATTEMPTS:
                text = f"{reason.strerror}; it was tried {ATTEMPTS} times"
                raise StorageError("broken", text) from error
        time.sleep(FIRST_PAUSE * 3**attempt * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable")


def explain(error: BaseException, url: str) -> StorageError:
    """The reason of an error of any library."""
    if isinstance(error, StorageError):
        return error
    source = _source(error)
    status = _status(source)
    if _is_without_credentials(source):
        return StorageError("refused", f"no valid credentials were found; {credentials_for(url)}")
    if isinstance(error, PermissionError) or status in (401, 403, 407):
        words = _words(source)
        return StorageError("refused", f"access was denied ({words}); {credentials_for(url)}")
    if status in (404, 410) or (isinstance(error, FileNotFoundError) and status is None and source is error):
        return _missing(error, url)
    if isinstance(error, FileNotFoundError) and status is None and not _may_pass(source):
        return _missing(error, url)
    if isinstance(error, ImportError):
        return StorageError("unusable", f"a package is missing ({error})")
    return StorageError("broken" if _may_pass(source) else "refused", _words(source))


def credentials_for(url: str) -> str:
    """Where credentials of a scheme come from."""
    scheme = scheme_of(url)
    ways = _CREDENTIALS.get(_ALIASES.get(scheme, scheme))
    return ways or "check the address and its credentials"


def _source(error: BaseException) -> BaseException:
    """What an error was made of, where it says more: the HTTP file system calls everything a missing file."""
    seen = error
    while isinstance(seen.__cause__, Exception) and seen.__cause__ is not seen:
        seen = seen.__cause__
        if _status(seen) or _is_without_credentials(seen):
            return seen
    return seen if isinstance(error, FileNotFoundError) else error


def _status(error: BaseException) -> int | None:
    """The HTTP status that a server answered with."""
    # An answer that aiohttp cannot read has a status of its own.
    if any(kind.__name__ == "HttpProcessingError" for kind in type(error).__mro__):
        return None
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # of botocore
        value = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        places = ((error, "status"), (response, "status_code"), (error, "code"))  # of aiohttp, requests, gcsfs
        value = next((getattr(one, name) for one, name in places if hasattr(one, name)), None)
    return value if isinstance(value, int) and 100 <= value < 600 else None


def _is_without_credentials(error: BaseException) -> bool:
    return any(kind.__name__ in _NO_CREDENTIALS for kind in type(error).__mro__)


def _may_pass(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _TEMPORARY_STATUS
    if isinstance(error, OSError):
        return error.errno not in _LASTING and not isinstance(error, FileNotFoundError | IsADirectoryError)
    return not isinstance(error, ValueError | TypeError | LookupError | NotImplementedError | ImportError)


def _words(error: BaseException) -> str:
    status, message = _status(error), getattr(error, "message", None)
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        message = response.get("Error", {}).get("Message") or response.get("Error", {}).get("Code")
    if status is not None:
        return f"HTTP {status}" + (f" {message}" if isinstance(message, str) and message else "")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return describe_error(error)


def _missing(error: BaseException, url: str) -> StorageError:
    text = str(error).lower()
    if "bucket" in text and "exist" in text:
        return StorageError("no-store", f"there is no bucket {url.split('/')[2]}")
    return StorageError("missing", "it is not there")
