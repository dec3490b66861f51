"""Processes of ``--processes`` that are forked from one that has everything imported, instead of started anew.

They are real ones: they get real signals and really die. What they do not pay for is importing torch, seconds each.
``python -m tests.engines.forked SOCKET`` is the process that forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from camcli.engines import child
from tests.faults.forking import ROOT, Forks, be_cam, modules_of_a_run

_PID, _STATUS = struct.Struct("i"), struct.Struct("i")


class Forked:
    """What ``camcli.engines`` uses of :class:`subprocess.Popen`."""

    def __init__(self, address: str, request: dict[str, object] | None = None) -> None:
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_status, theirs_status) = os.pipe(), os.pipe(), os.pipe()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            socket.send_fds(connection, [json.dumps(request).encode()], [theirs_in, theirs_out, theirs_status])
        for descriptor in (theirs_in, theirs_out, theirs_status):
            os.close(descriptor)
        self.stdin: IO[bytes] = os.fdopen(ours_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(ours_out, "rb")
        self._status = os.fdopen(ours_status, "rb")
        self.pid: int = _PID.unpack(self._status.read(_PID.size))[0]
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(_STATUS.unpack(self._status.read(_STATUS.size))[0])
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> None:
        with suppress(OSError):
            self.stdin.close()
        self.wait()


class ForkServer:
    """The process that forks; a context manager that ends it.

    Args:
        forks: is it forked from, and ends it; else it is started anew.
        before: Python that it runs first.

    Attributes:
        address: of its socket.
    """

    def __init__(self, forks: Forks | None = None, *, before: str = "") -> None:
        self._folder, self._count = tempfile.TemporaryDirectory(), 0
        self.address = str(Path(self._folder.name, "socket"))
        self._process: subprocess.Popen[bytes] | None = None
        if forks is not None:
            forks.start_server(self.address, before)
            return
        assert not before
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.forked", self.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()
        self._folder.cleanup()

    def start(self, arguments: Sequence[object], *, before: str = "") -> ForkedCam:
        """Start ``cam ARGUMENTS``, whose processes are forked as well.

        Args:
            arguments: of the command line.
            before: Python that the process runs first: how a fault gets into it.
        """
        self._count += 1
        folder = Path(self._folder.name, str(self._count))
        instead = (
            f"from tests.engines.forked import fork_instead; fork_instead({self.address!r}, '{folder}/processes')\n"
        )
        return ForkedCam(self.address, arguments, instead + before, folder)

    def run(self, arguments: Sequence[object], *, before: str = "") -> ForkedCam:
        """Run ``cam ARGUMENTS`` to its end."""
        running = self.start(arguments, before=before)
        running.wait()
        return running


class ForkedCam(Forked):
    """One ``cam`` process; what it prints goes to files."""

    def __init__(self, address: str, arguments: Sequence[object], before: str, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        super().__init__(address, {"arguments": [str(a) for a in arguments], "before": before, "folder": str(folder)})

    @property
    def has_ended(self) -> bool:
        """Whether it has; it may be waited for then."""
        return self.returncode is not None or bool(select.select([self._status], [], [], 0)[0])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the process brings about; fails where it has ended without."""
        while not condition():
            if self.has_ended:
                assert condition(), f"the process has ended: {self.err}"
                return
            time.sleep(0.005)

    @property
    def processes(self) -> list[int]:
        """Those that it has had forked, in order."""
        path = self.folder / "processes"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8", "replace")


def fork_instead(address: str, log: str) -> None:
    """Let the head in this process have its processes forked, for good, and their numbers appended to a file."""

    def spawn() -> Forked:
        process = Forked(address)
        with open(log, "a") as file:
            print(process.pid, file=file)
        return process

    child.spawn = spawn  # type: ignore[assignment]


_STAND_IN = """
import json, os, socket, struct, sys
theirs, ours = os.pipe()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    request = {"program": sys.argv[2:], "environment": dict(os.environ), "working": os.getcwd()}
    socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, ours])
os.close(ours)
with open(theirs, "rb") as status:
    status.read(4)
    sys.exit(os.waitstatus_to_exitcode(struct.unpack("i", status.read(4))[0]) & 255)
"""


def stand_in_for_python(server: ForkServer, folder: Path) -> str:
    """The command of an interpreter that has its process forked, with everything imported, and ends when that ends."""
    script = folder / "stand_in.py"
    script.write_text(_STAND_IN)
    return f"{sys.executable} -I -S {script} {server.address}"


def _be_program(request: dict[str, Any]) -> None:
    """Run a Python program as an interpreter would that was started for it."""
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["working"])
    sys.argv = request["program"]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


def serve(address: str) -> None:
    """Import everything, then fork a process for every connection, until stdin ends."""
    for module in ("torch", "camcli.pipeline.stream", *modules_of_a_run()):
        with suppress(ImportError):
            importlib.import_module(module)
    listen(address)


def listen(address: str, before: str = "") -> None:
    """Fork a process for every connection, until stdin ends."""
    exec(before, {})
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those in between
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        watched: list[Any] = [listener, 0]
        print(flush=True)
        while True:
            ready, _, _ = select.select(watched, [], [])
            if 0 in ready:  # the test is over
                return
            connection, _ = listener.accept()
            request, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 3)
            connection.close()
            if not os.fork():
                os._exit(_be_parent(json.loads(request), *descriptors))
            for descriptor in descriptors:
                os.close(descriptor)


def _be_parent(request: dict[str, Any] | None, stdin: int, stdout: int, status: int) -> int:
    """Fork the process, and report how it ends: between it and the server, which must not wait."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (pid := os.fork()):
        os.setsid()
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        for descriptor in (stdin, stdout, status):
            os.close(descriptor)
        code = 1
        try:
            if request is None:
                child.serve()
                code = 0
            elif "program" in request:
                _be_program(request)
                code = 0
            else:
                code = be_cam(request)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    for descriptor in (0, stdin, stdout):
        os.close(descriptor)
    with suppress(BrokenPipeError):  # the head, which would know, was killed
        os.write(status, _PID.pack(pid))
        os.write(status, _STATUS.pack(os.waitpid(pid, 0)[1]))
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
