"""Images that may have ended the last process, first read and decoded in a child process.

A crash in a decoder's machine code ends the process, and nothing around it helps: the same command would read the same
image and crash again, every time. So when a run is continued whose process did not end by itself, the images that may
have been in flight then are quarantined: one that ends the child, and a second child as well, is named; the others are
explained. The child's other results do not count: the run itself decodes each image and reports its errors.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from dataclasses import replace

from camcli.errors import ImageError
from camcli.images import DecodeSettings, Entry, decode, pillow_limits, read
from camcli.pipeline.items import Failed, Fetched, Loaded

# Not `-m camcli.pipeline.crash_guard`: that would import from the working directory, and not from where a script has
# extended sys.path to. multiprocessing would run a caller's script again where that has no main guard.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from camcli.pipeline.crash_guard import serve; serve()"
_READY = b"+"


class CrashQuarantine:
    """Tests the first images of a stream, until so many of them were loaded as can have been in flight.

    Only what is loaded counts: images that fail belong to the next batch, however many they are.

    Args:
        settings: how the run decodes.
        count: how many images to load before the rest passes untested; 0 tests none and starts no process.
        is_ending: returns whether the run takes no further image.
    """

    def __init__(self, settings: DecodeSettings, count: int, is_ending: Callable[[], bool]) -> None:
        # The child starts no CUDA: it decodes on the CPU what the run decodes on its device.
        self._settings, self._remaining, self._is_ending = replace(settings, device=None), count, is_ending

    def test_entries(self, entries: Iterable[Entry]) -> Generator[Entry | Failed, None, None]:
        """The images in their order, each tested when it is asked for; a fatal one has failed."""
        with closing(_Child(self._settings)) as child:
            for entry in entries:
                if self._remaining <= 0:
                    child.close()
                    yield entry
                    continue
                cause = child(entry)
                if self._is_ending():  # what stops the run may have ended the child: no result, and no risk either
                    return
                message = f"reading this image ends the whole process ({cause}): it crashes its decoder"
                yield entry if cause is None else Failed(entry, ImageError("worker-died", message))

    def wrap_loader(
        self, load: Callable[[Entry | Fetched], Loaded | Failed]
    ) -> Callable[[Entry | Failed | Fetched], Loaded | Failed]:
        """``load``, for what comes out of :meth:`test_entries` and was read since; called from many threads."""

        def load_tested(item: Entry | Failed | Fetched) -> Loaded | Failed:
            if isinstance(item, Failed):
                return item
            result = load(item)
            if isinstance(result, Loaded):
                self._remaining -= 1  # without a lock: where two threads count as one, one image more is tested
            return result

        return load_tested


class _Child:
    """A process that reads and decodes; started when it is needed, and again after it has ended."""

    def __init__(self, settings: DecodeSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._unavailable = False

    def __call__(self, entry: Entry) -> str | None:
        """What ends the process that reads this image; None where it survives, or no process can be started."""
        cause = None
        for _ in range(2):  # the first time, something else may have ended it (memory, a person)
            process = self._start()
            if process is None or _ask(process, entry):
                return None
            self.close()
            cause = _describe_exit(process.returncode)
        return cause

    def close(self) -> None:
        """End the process; a second call does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes] | None:
        if self._process is None and not self._unavailable:
            with suppress(OSError):  # no memory or no process left, no interpreter
                self._process = subprocess.Popen(
                    [sys.executable or "", "-P", "-c", _CHILD, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the run
                )
            # One that cannot even start shows nothing of an image: the run goes on without quarantine.
            if self._process is None or not _ask(self._process, self._settings):
                self._unavailable = True
                self.close()
        return self._process


def _ask(process: subprocess.Popen[bytes], request: Entry | DecodeSettings) -> bool:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # a broken pipe: the process has ended meanwhile
        pickle.dump(request, process.stdin)
        process.stdin.flush()
        return process.stdout.read(1) == _READY
    return False


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def serve() -> None:
    """Run as the child: decode one image after the other, and report after each that this process still runs."""
    for number in (signal.SIGINT, signal.SIGTERM):  # may be sent to all processes of a run; this one ends with its pipe
        signal.signal(number, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.dup(1)
    os.dup2(2, 1)  # what decoders print must not be taken for an answer
    with suppress(EOFError, OSError):  # the run is over, or gone
        settings = pickle.load(requests)
        with pillow_limits(max_pixels=settings.max_pixels):
            while True:
                os.write(answers, _READY)
                entry = pickle.load(requests)
                with suppress(BaseException):
                    decode(read(entry), settings)
