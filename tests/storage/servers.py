"""An S3 server in this process, over real HTTP, that can answer slowly, with errors, or break off in the middle."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class Fault:
    """What happens to requests whose ``METHOD /path`` matches a pattern, so many times.

    Attributes:
        status: they are answered with this status; None: with what the server says.
        cut: of the answer, half is sent.
        hang_up: there is no answer.
        cut_request: half of the request is read.
    """

    pattern: str
    times: int
    status: int | None = None
    cut: bool = False
    hang_up: bool = False
    cut_request: bool = False


class FaultyServer:
    """A web application behind faults.

    Attributes:
        requests: ``METHOD /path`` of each so far.
        most_reads_at_once, most_writes_at_once: the most objects that were read or written at the same time.
        delay: seconds before each answer.
        reads_to_gather: a read waits until so many are there at once, which happens once; the first read, with which a
            model is examined, does not.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Condition()
        self._faults: list[Fault] = []
        self._reads = self._writes = 0
        self._at = 0
        self._action: Callable[[], None] | None = None
        self.requests: list[str] = []
        self.most_reads_at_once = self.most_writes_at_once = 0
        self.delay, self.reads_to_gather, self._reads_so_far = 0.0, 0, 0
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_QuietHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, pattern: str, times: int = 10**9, status: int = 503) -> None:
        """Answer with an error."""
        self._faults.append(Fault(pattern, times, status))

    def cut(self, pattern: str, times: int = 10**9) -> None:
        """Announce the whole length, send half of it, and close the connection."""
        self._faults.append(Fault(pattern, times, cut=True))

    def hang_up(self, pattern: str, times: int = 10**9) -> None:
        """Close the connection without an answer, before the request was carried out."""
        self._faults.append(Fault(pattern, times, hang_up=True))

    def cut_request(self, pattern: str, times: int = 10**9) -> None:
        """Close the connection when half of the request has come; the application gets that half."""
        self._faults.append(Fault(pattern, times, cut_request=True))

    def reset(self) -> None:
        """Behave from now on."""
        self._faults.clear()
        self._action = None
        self.requests.clear()
        self.most_reads_at_once, self.most_writes_at_once, self.delay = 0, 0, 0.0
        self.reads_to_gather = self._reads_so_far = 0

    def call_at(self, number: int, action: Callable[[], None]) -> None:
        """Do something when so many requests have come, before the last of them is answered."""
        self._at, self._action = number, action

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(1 for request in self.requests if re.search(pattern, request))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{unquote(query)}"
        with self._lock:
            self.requests.append(request)
            is_read = environ["REQUEST_METHOD"] == "GET" and not query
            self._reads += is_read
            self._reads_so_far += is_read
            self.most_reads_at_once = max(self.most_reads_at_once, self._reads)
            is_write = environ["REQUEST_METHOD"] == "PUT" and "/shards/" not in environ["PATH_INFO"]
            self._writes += is_write
            self.most_writes_at_once = max(self.most_writes_at_once, self._writes)
            fault = next((one for one in self._faults if one.times > 0 and re.search(one.pattern, request)), None)
            if fault is not None:
                fault.times -= 1
            if self._action is not None and len(self.requests) >= self._at:
                self._action()
                self._action = None
            self._lock.notify_all()
            if is_read and self._reads_so_far > 1:
                self._lock.wait_for(lambda: self.most_reads_at_once >= self.reads_to_gather, timeout=120)
        try:
            time.sleep(self.delay)
            answer = self._answer(fault, environ, start_response)
            answer = list(answer) if fault is None else answer
        finally:
            with self._lock:  # before the client has its answer, and asks for the next object
                self._reads -= is_read
                self._writes -= is_write
        yield from answer

    def _answer(
        self, fault: Fault | None, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if fault is not None and fault.cut_request:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            _hang_up(environ)
        if fault is not None and fault.hang_up:
            _hang_up(environ)
        if fault is not None and fault.status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{fault.status} Injected", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        answer = self._application(environ, start_response)
        if fault is None or not fault.cut:
            return answer
        content = b"".join(answer)
        return _broken_off(content, environ)


def _broken_off(content: bytes, environ: dict[str, Any]) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    _hang_up(environ)


def _hang_up(environ: dict[str, Any]) -> None:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("hung up")


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        """Nothing."""


def s3_application() -> Callable[..., Iterable[bytes]]:
    """The S3 of moto, as a web application."""
    application: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
    return application


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of each file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
