"""A process that has everything imported and forks a fresh `cam` for every request, in a tenth of a second.

``python -m tests.faults.forking`` reads requests from stdin, one JSON object a line, and answers each with the pid of
the new process, then with how it ended. The processes are real ones: they get real signals and really die.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import typer.main

from tests.typer_once import build_commands_once

ROOT = Path(__file__).resolve().parent.parent.parent


class Running:
    """One `cam` process; what it prints goes to files."""

    def __init__(self, server: Forks, pid: int, folder: Path) -> None:
        assert pid > 1
        self.server, self.pid, self.folder = server, pid, folder
        self.code: int | None = None

    def send(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended already (it is not waited for yet)."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code; minus the signal where one killed it."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(self.server.answer())
        return self.code

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the process brings about; fails where it has ended without."""
        while not condition():
            if not self._exists():
                assert condition(), f"the process has ended: {self.err}"
                return
            time.sleep(0.005)

    def _exists(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8", "replace")


class Forks:
    """The parent of the processes; a context manager that ends it."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forking"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        self._folder = tempfile.TemporaryDirectory()
        self._count = 0
        self._latest: Running | None = None
        self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_latest()
        self._process.communicate()
        self._folder.cleanup()

    def start(self, arguments: Sequence[object], before: str = "") -> Running:
        """Start ``cam ARGUMENTS``; one at a time.

        Args:
            arguments: of the command line.
            before: Python that the process runs first: how a fault gets into it.
        """
        self._end_latest()
        self._count += 1
        folder = Path(self._folder.name, str(self._count))
        folder.mkdir()
        self._send({"arguments": [str(a) for a in arguments], "before": before, "folder": str(folder)})
        self._latest = Running(self, self.answer(), folder)
        return self._latest

    def start_server(self, address: str, before: str) -> None:
        """Start a server of :mod:`tests.engines.forked`; it ends with this one.

        Args:
            address: of its socket.
            before: Python that it runs first.
        """
        self._send({"address": address, "before": before})
        assert self.answer() == 0

    def _send(self, request: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _end_latest(self) -> None:
        """Of a test that failed, something may be running still."""
        if self._latest is not None and self._latest.code is None:
            self._latest.send(signal.SIGKILL)
            self._latest.wait()

    def run(self, arguments: Sequence[object], before: str = "") -> tuple[int, Running]:
        """Run ``cam ARGUMENTS`` to its end."""
        running = self.start(arguments, before)
        return running.wait(), running

    def answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def serve() -> None:
    """Answer requests until stdin ends."""
    for module in ("torch", "camcli.pipeline.stream", "tests.output.faults"):
        importlib.import_module(module)
    _silence_progress()
    build_commands_once()
    for module in modules_of_a_run():
        with suppress(ImportError):  # an optional module that is not there
            importlib.import_module(module)
    typer.main.get_command(importlib.import_module("camcli.cli").app)
    gc.collect()
    gc.freeze()  # or every new process looks through all that was imported, several times
    print(0, flush=True)
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "address" in request:
            _start_server(**request)
            print(0, flush=True)
            continue
        pid = os.fork()
        if not pid:
            os._exit(be_cam(request))
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


def _start_server(address: str, before: str) -> None:
    """Fork a server of other processes, and wait until it listens."""
    (watched, ours), (ready, theirs) = os.pipe(), os.pipe()
    if not os.fork():
        try:
            os.dup2(watched, 0)
            os.dup2(theirs, 1)
            for descriptor in (watched, ours, ready, theirs):
                os.close(descriptor)
            importlib.import_module("tests.engines.forked").listen(address, before)
        finally:
            os._exit(1)
    os.close(watched)  # the other end stays open as long as this process is there
    os.close(theirs)
    assert os.read(ready, 1)
    os.close(ready)


def _silence_progress() -> None:
    """Progress is printed by the clock: what a slow run prints must be what a fast one does."""
    from camcli.cli import printer

    assert hasattr(printer, "_LINE_INTERVAL")
    printer._LINE_INTERVAL = float("inf")


def modules_of_a_run() -> list[str]:
    """The modules that a run loads; found in a process of its own, whose threads do no harm."""
    reader, writer = os.pipe()
    if not os.fork():
        code = 1
        try:
            with tempfile.TemporaryDirectory() as folder:
                _example(Path(folder))
            text = "\n".join(sys.modules)
            with open(writer, "w") as pipe:
                pipe.write(text)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader) as pipe:
        names = pipe.read().split()
    os.wait()
    return [name for name in names if _importable(name)]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # made at run time
        return False


def _example(folder: Path) -> None:
    from PIL import Image

    from camcli.cli import main

    for name in ("x.png", "y.jpg"):
        Image.new("RGB", (80, 60), (9, 99, 200)).save(folder / name)
    _print_to(os.devnull, os.devnull)
    model = ("--model", "factory:tests.tiny:build", "--input-size", "64")
    with suppress(SystemExit):
        main(["run", str(folder), *model, "--output-dir", str(folder / "run")])


def be_cam(request: dict[str, Any]) -> int:
    _print_to(*(str(Path(request["folder"], name)) for name in ("out", "err")))
    try:
        from camcli.cli import main

        exec(request["before"], {})
        main(request["arguments"])
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _print_to(out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)


if __name__ == "__main__":
    serve()
