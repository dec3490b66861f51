"""One of the two versions that :mod:`tests.sweeps.compare_commits` compares: how it is installed and run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
WORKING_TREE = "working tree"
SECONDS = 300  # that a command may take

# Imports what takes long once, and forks a process for each command that then runs `python -m camcli`. The first entry
# of sys.path is empty and stands for the working folder, as with `-m`.
_SERVER = f"""
import json, os, runpy, signal, sys
import cv2, timm, torch, torchvision
print(flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm({SECONDS})
        os.chdir(job["folder"])
        for number, path in enumerate((os.devnull, job["stdout"], job["stderr"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.argv = ["cam", *job["arguments"]]
        runpy.run_module("camcli", run_name="__main__", alter_sys=True)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Version:
    """An installed version and the folder in which its commands run; a context manager that ends its process."""

    def __init__(self, commit: str, folder: Path) -> None:
        """Install a commit, or the working tree as it is, below ``folder``."""
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._outputs = {name: str(folder / name) for name in ("stdout", "stderr")}
        source = ROOT if commit == WORKING_TREE else _export(commit, folder / "source")
        packages = folder / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), str(source)]
        subprocess.run(pip, check=True)
        settings = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **settings}
        place = ["-c", "import camcli; print(camcli.__file__)"]
        imported = subprocess.check_output([sys.executable, *place], env=environment, cwd=self.work, text=True).strip()
        if not Path(imported).is_relative_to(packages):
            raise SystemExit(f"camcli of {commit} is imported from {imported} and not from {packages}")
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=self.work,
        )  # fmt: skip
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(self, folder: Path, arguments: Sequence[str]) -> Outcome:
        """Run ``cam ARGUMENTS`` in a folder, in a process of its own."""
        assert self._server.stdin is not None
        job = {"folder": str(folder), "arguments": list(arguments), **self._outputs}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        code = int(self._answer())
        texts = [Path(path).read_text("utf-8", "replace") for path in self._outputs.values()]
        return Outcome(code, *texts)

    def _answer(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise SystemExit("the process of one version ended; its message stands above")
        return line


def _export(commit: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder
