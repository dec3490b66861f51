"""Errors with one image end the work on that image alone: the one place that catches everything.

Workers are threads. A crash inside a decoder's machine code ends the process, and nothing here can catch that: what was
journalled stays, and the same command names the image (:mod:`camcli.pipeline.crash_guard`). A crash in any other
machine code, of the model or of the user's own preprocessing, is met again.
"""

from collections.abc import Callable
from typing import TypeVar

from camcli.errors import CamError, ImageError, describe_error, is_out_of_memory

Out = TypeVar("Out")


def run_guarded(work: Callable[[], Out], doing: str) -> Out:
    """Do the work of one image in a worker; whatever goes wrong comes out as the error of this image.

    A worker that is lost, as by ``SystemExit`` in a decoder or in the user's own preprocessing, tries the same image
    once more; lost again, it names the image.

    Args:
        work: works on one image; may be called twice.
        doing: what it does, for the message: ``reading``, ``drawing``.

    Raises:
        ImageError: the image cannot be explained: its own reason, ``out-of-memory``, ``worker-died`` or ``internal``.
        CamError: something that does not lie with the image, such as a full disk.
    """
    for again in (True, False):
        try:
            return work()
        except CamError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise ImageError("out-of-memory", f"{doing} this image does not fit into memory") from error
            raise ImageError("internal", f"{doing} it failed unexpectedly ({describe_error(error)})") from error
        except BaseException as error:  # what ends a thread: no signal, signals reach the main thread alone
            if not again:
                message = f"the worker was lost twice on {doing} this image ({describe_error(error)})"
                raise ImageError("worker-died", message) from error
    raise AssertionError("unreachable")
