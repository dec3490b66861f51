"""Which errors of which library are tried again, and what is said of them."""

from __future__ import annotations

import errno

import pytest

from camcli.storage import StorageError, retry
from camcli.storage.retry import ATTEMPTS, explain, with_retries


class AnswerError(Exception):
    """An error with a status, as aiohttp and requests have them."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(f"{status} {message} https://me:hush@host/x?sig=hush")
        self.status, self.message = status, message


class BotoError(Exception):
    """As botocore has them."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
    """Known by its name, since botocore need not be installed."""


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (FileNotFoundError("x"), "missing", "it is not there"),
        (FileNotFoundError("The specified bucket does not exist"), "no-store", "there is no bucket bucket"),
        (caused(FileNotFoundError("https://h/x"), AnswerError(503)), "broken", "HTTP 503"),
        (caused(FileNotFoundError("https://h/x"), AnswerError(403)), "refused", "HTTP 403"),
        (caused(FileNotFoundError("https://h/x"), TimeoutError("slow")), "broken", "slow"),
        (caused(FileNotFoundError("x"), KeyError("x")), "missing", "it is not there"),
        (caused(PermissionError("no"), BotoError(403, "AccessDenied")), "refused", "AccessDenied"),
        (caused(OSError(errno.EIO, "busy"), BotoError(500, "InternalError")), "broken", "HTTP 500 InternalError"),
        (caused(OSError(errno.EINVAL, "bad"), BotoError(400, "InvalidRequest")), "refused", "HTTP 400 InvalidRequest"),
        (AnswerError(404), "missing", "it is not there"),
        (AnswerError(429), "broken", "HTTP 429"), (AnswerError(408), "broken", "HTTP 408"),
        (TimeoutError("slow"), "broken", "slow"), (ConnectionResetError("reset"), "broken", "reset"),
        (RuntimeError("odd"), "broken", "odd"), (ValueError("odd name"), "refused", "odd name"),
        (NoCredentialsError(), "refused", "no valid credentials were found"), (ImportError("m"), "unusable", "m"),
    ],
)  # fmt: skip
def test_reasons(error: Exception, cause: str, words: str) -> None:
    reason = explain(error, "s3://bucket/x")
    assert reason.cause == cause
    assert words in str(reason.strerror)
    assert "hush" not in str(reason)


@pytest.mark.parametrize(("error", "attempts"), [(TimeoutError("slow"), ATTEMPTS), (PermissionError("no"), 1)])
def test_attempts_are_bounded(error: Exception, attempts: int) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise error

    with pytest.raises(StorageError):
        with_retries("s3://bucket/x", work)
    assert len(calls) == attempts


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.3)
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    answers = iter([TimeoutError("slow")] * (ATTEMPTS - 1))

    def work() -> str:
        for error in answers:
            raise error
        return "done"

    assert with_retries("s3://bucket/x", work) == "done"
    assert [0.5 * 0.3 * 3**n <= pause <= 1.5 * 0.3 * 3**n for n, pause in enumerate(pauses)] == [True] * (ATTEMPTS - 1)
