"""One of several processes of a run: it explains one shard, and reports on a pipe how far it is.

A fresh process: nothing is forked, so that threads, CUDA and the caller's script are not in it twice. It imports what a
run needs, which takes seconds, and waits: so it can be started while the head decides, or imports the same itself. On
its standard input come the settings, and nothing more: when that pipe ends, the head of the run is gone, and this
process stops.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from camcli.concurrency import Stop, keep_freed_memory
from camcli.config.settings import RunConfig
from camcli.errors import CamError

if TYPE_CHECKING:
    from camcli.pipeline.stream import Watcher

# As the child of pipeline.crash_guard is started, for the same reasons.
_CHILD = """\
import sys
sys.path[:] = sys.argv[1:]
from camcli.concurrency import be_process
from camcli.engines.child import serve
be_process(serve)
"""
_NOT_SENT = ("native", "files", "attention")
"""Of each map: what nobody prints, and most of a row."""
_missed = threading.Lock()
"""Taken for good by the first who notices that the head is gone."""


def spawn() -> subprocess.Popen[bytes]:
    """Start a process that imports what a run needs, and waits. It sends events on its standard output, one a line."""
    # As many threads of the model as one process has: with others, convolutions add up in another order, and the last
    # digits of a map are others. They wait passively, so that the processes do not take cores from each other.
    environment = {**os.environ, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    return subprocess.Popen(
        [sys.executable or "", "-P", "-c", _CHILD, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the head, which passes it on
        env=environment,
    )


def begin(process: subprocess.Popen[bytes], config: RunConfig, command: Sequence[str]) -> None:
    """Let a process that waits explain a shard.

    Args:
        process: it.
        config: its settings, with a shard by number.
        command: recorded in the index.
    """
    assert process.stdin is not None
    with suppress(OSError):  # it has ended already, and is replaced
        pickle.dump((config, list(command)), process.stdin)
        process.stdin.flush()


class Waiting:
    """Processes that wait for a shard; on leaving, those that nobody took are ended."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def fill(self, count: int) -> None:
        """Start as many as are missing."""
        while len(self._processes) < count:
            self._processes.append(spawn())

    def take(self) -> subprocess.Popen[bytes]:
        """One of them; a new one where none is left."""
        return self._processes.pop() if self._processes else spawn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes = []


def serve() -> None:
    """Run as the child."""
    stop = Stop()
    _take_signals(stop)
    events = _Events(os.dup(1))
    os.dup2(2, 1)  # what libraries print must not be taken for an event
    keep_freed_memory()
    from camcli.pipeline.stream import run

    try:
        config, command = pickle.load(sys.stdin.buffer)
    except EOFError:  # the head needs no further process, or is gone
        return
    threading.Thread(target=_watch_head, daemon=True).start()
    try:
        summary = run(config, command=command, stop=stop, watch=_watcher(events))
    except CamError as error:
        events.send("error", message=str(error), exit_code=error.exit_code)
        sys.exit(error.exit_code)
    events.send("done", status=summary.status, explained=summary.explained, timing=dict(summary.timing),
                passed_over=summary.counts["passed_over"])  # fmt: skip
    sys.exit(summary.exit_code)


def _take_signals(stop: Stop) -> None:
    """As the command line does: finish what is in flight at the first signal, end at once at the second."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.request(number)
        if not stop.flowing:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _watch_head(descriptor: int = 0) -> None:
    """Stop when the head is gone, which has the other end of a pipe."""
    with suppress(OSError):
        while os.read(descriptor, 1 << 10):
            pass
    _miss_head()


def _miss_head() -> None:
    """Stop, for the head is gone; at once, where the run was stopping already.

    Both pipes end with it. The second who notices must not be taken for a second signal, which would leave what is in
    flight unfinished and the shard locked.
    """
    if _missed.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGTERM)


class _Events:
    """Events of this process, written whole; several threads may send."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._lock = descriptor, threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        with self._lock:
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                _miss_head()


def _watcher(events: _Events) -> Watcher:
    from camcli.pipeline.stream import Watcher
    from camcli.schemas.index import ImageRow

    class Sender(Watcher):
        def row(self, row: ImageRow) -> None:
            maps = [{key: value for key, value in one.items() if key not in _NOT_SENT} for one in row["maps"]]
            events.send("row", row={**row, "maps": maps})

        def skipped(self, count: int) -> None:
            events.send("skipped", count=count)

        def inside(self, method: str, done: int, total: int) -> None:
            events.send("inside", method=method, done=done, total=total)

    return Sender()
