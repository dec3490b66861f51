import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from camcli.errors import LockedError, OutputError
from camcli.output.lock import LOCK_NAME, RunLock

_HOLD = (
    "import sys; from camcli.output.lock import RunLock; lock = RunLock('.'); print(1, flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path: Path) -> "subprocess.Popen[bytes]":
    """Another process that holds the lock of tmp_path until its stdin closes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    return process


def test_a_second_process_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, holder: "subprocess.Popen[bytes]"
) -> None:
    with pytest.raises(LockedError) as caught:
        RunLock(tmp_path)
    holder.communicate()
    assert f"{tmp_path} is being written by process {holder.pid} on " in str(caught.value)
    assert "choose another --output-dir" in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_lock_of_a_dead_process_does_not_block(tmp_path: Path, holder: "subprocess.Popen[bytes]") -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK_NAME).exists()
    with RunLock(tmp_path) as lock:
        assert lock.exclusive
        assert (tmp_path / LOCK_NAME).read_text().startswith(f"{os.getpid()} ")
    assert list(tmp_path.iterdir()) == []


def test_whether_the_last_holder_died_with_it(tmp_path: Path, holder: "subprocess.Popen[bytes]") -> None:
    holder.kill()
    holder.communicate()
    with RunLock(tmp_path) as lock:
        assert lock.abandoned
    for _ in range(2):
        with RunLock(tmp_path) as lock:
            assert not lock.abandoned
    (tmp_path / LOCK_NAME).touch()  # its holder died before it held anything
    with RunLock(tmp_path) as lock:
        assert not lock.abandoned


def test_the_same_process_may_not_take_it_twice(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path)
    RunLock(tmp_path).release()


def test_release_removes_the_file_and_may_be_repeated(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.release()
    with RunLock(tmp_path):
        lock.release()
        assert (tmp_path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("camcli.output.lock.lock_descriptor", refuse)
    with RunLock(tmp_path) as lock:
        assert not lock.exclusive
    assert list(tmp_path.iterdir()) == []


def test_any_other_failure_of_the_system_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("camcli.output.lock.lock_descriptor", fail)
    with pytest.raises(OutputError, match=rf"cannot write .*{LOCK_NAME}: Input/output error"):
        RunLock(tmp_path)


def test_a_lock_file_that_cannot_be_removed_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "in use", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)  # as Windows does with a file that is open
    RunLock(tmp_path).release()
    assert (tmp_path / LOCK_NAME).read_bytes() == b""
    with RunLock(tmp_path) as lock:
        assert not lock.abandoned


def test_never_two_holders_while_the_file_comes_and_goes(tmp_path: Path) -> None:
    """Threads take and give back the lock at full speed; the removed file of one must not let two others in."""
    inside = threading.Semaphore(1)
    crowded = threading.Event()
    taken = 0

    def work() -> None:
        nonlocal taken
        for _ in range(300):
            try:
                lock = RunLock(tmp_path)
            except LockedError:
                continue
            if not inside.acquire(blocking=False):
                crowded.set()
                lock.release()
                continue
            taken += 1
            inside.release()
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not crowded.is_set()
    assert taken > 0
