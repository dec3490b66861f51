"""One process at a time writes a run folder.

The lock is the operating system's, on a file of the folder, so that it ends with the process that holds it, however
that process ends. The file names the holder, for the message to a second process, and is removed at the end, so that
the folder of a finished run holds nothing but the run.
"""

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Self

from filelock import lock_descriptor

from camcli.errors import LockedError
from camcli.output.atomic import PORTABLE_FLAGS, naming_os_errors, write_fully
from camcli.output.jsontext import replace_surrogates
from camcli.storage import is_remote

LOCK_NAME = ".cam.lock"

_ATTEMPTS = 100
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


class RunLock:
    """The lock of a run folder, kept from construction until :meth:`release` or the end of the process.

    Args:
        run_dir: the run folder.
        name: of the lock file in it.
        whose: what is locked, for messages; the folder, where it is not said.

    Attributes:
        exclusive: False where the file system has no locks (some network file systems): then nothing keeps a second
            process out, and the caller should say so.
        abandoned: whether the last process that held the lock ended without releasing it.

    Raises:
        LockedError: another process (or this one, a second time) holds the lock; the message names the folder and the
            process.
        OutputError: the lock file cannot be created.
    """

    def __init__(self, run_dir: str | Path, name: str = LOCK_NAME, whose: str = "") -> None:
        self._path = Path(run_dir) / name
        self._whose = whose or str(run_dir)
        self.exclusive = True
        self.abandoned = False
        self._descriptor = -1
        if is_remote(os.fspath(run_dir)):  # an object store has no locks
            self.exclusive = False
            return
        with naming_os_errors(self._path):
            for _ in range(_ATTEMPTS):
                if self._try():
                    return
        raise self._locked_error()

    def release(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._descriptor < 0:
            return
        # Removed while the lock is held, so that no process can lock a file that is about to be removed. Where that is
        # refused (Windows) an empty file stays, which means nothing: only the system's lock counts.
        try:
            self._path.unlink()
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try(self) -> bool:
        """One attempt; False where the last holder removed the file between its opening and its locking here."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | PORTABLE_FLAGS, 0o666)
        try:
            self.exclusive = self._lock(descriptor)
            if not self._is_in_place(descriptor):
                os.close(descriptor)
                return False
            self.abandoned = os.fstat(descriptor).st_size > 0
            os.ftruncate(descriptor, 0)
            write_fully(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def _lock(self, descriptor: int) -> bool:
        """Whether the file system could lock the file."""
        try:
            if lock_descriptor(descriptor, blocking=False):
                return True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        raise self._locked_error()

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _locked_error(self) -> LockedError:
        try:
            pid, _, host = self._path.read_text("utf-8", "replace").strip().partition(" ")
        except OSError:  # just removed, because the holder ends; or Windows, where a locked file cannot be read
            pid = host = ""
        holder = f"process {pid} on {host}" if pid else "another process"
        message = f"{self._whose} is being written by {holder}. Wait until that ends, or choose another"
        return LockedError(replace_surrogates(f"{message} --output-dir."))
