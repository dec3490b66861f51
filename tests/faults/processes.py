"""`cam` as a fresh process of Python: for what a forked one would inherit, such as its locale."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .forking import ROOT


def cam_process(*arguments: object, settings: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python -m camcli ARGUMENTS``.

    Args:
        arguments: of the command line.
        settings: environment variables, over those of this process.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "camcli", *(str(argument) for argument in arguments)]
    return subprocess.run(
        command, env={**environment, **(settings or {})}, capture_output=True, encoding="utf-8", errors="replace",
        cwd=Path.cwd(),
    )  # fmt: skip


# Gives up all capabilities (capset, version 3 of its header, for this process).
_NO_RIGHTS = """
import ctypes
header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0
"""


def as_ordinary_user() -> str:
    """What makes permissions count for a forked process, even where the tests are run by root."""
    if os.geteuid() != 0:
        return ""
    if sys.platform != "linux":
        pytest.skip("permissions mean nothing to root")
    return _NO_RIGHTS
