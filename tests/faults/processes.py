"""`cam` as a fresh process of Python: for what a forked one would inherit, such as locale, umask and privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from .forking import ROOT


def cam_process(
    *arguments: object,
    prefix: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    shell_first: str = "",
    program: Sequence[str] = ("-m", "camcli"),
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m camcli ARGUMENTS``.

    Args:
        arguments: of the command line.
        prefix: a command that runs it, such as setpriv.
        settings: environment variables, over those of this process.
        shell_first: what a shell does before it starts it (``umask 077``).
        program: what Python runs with these arguments.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [*prefix, sys.executable, *program, *(str(argument) for argument in arguments)]
    if shell_first:
        command = ["sh", "-c", f'{shell_first}; exec "$@"', "sh", *command]
    return subprocess.run(
        command, env={**environment, **(settings or {})}, capture_output=True, encoding="utf-8", errors="replace",
        timeout=120, cwd=Path.cwd(),
    )  # fmt: skip


def as_ordinary_user() -> list[str]:
    """What makes permissions count for a process, even where the tests are run by root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("permissions mean nothing to root")
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
