"""Processes that write into an object store, killed at random requests."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import camcli
from tests.faults.conftest import TINY
from tests.faults.forking import Forks

from .contents import artefacts_at, index_at
from .servers import FaultyServer

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")


def kill_until(kills: int, forks: Forks, s3: FaultyServer, photos: Path, seed: int = 0) -> int:
    """Kill processes of one run into ``s3://bucket/run`` until it has ended and so many were killed; how many were.

    After every kill, each artefact that is there is whole.
    """
    chance, run = random.Random(seed), "s3://bucket/run"
    command = ("run", photos, "--batch-size", 2, "--workers", 2, *TINY, "--output-dir")
    before = f"import os; os.environ.update({ {name: os.environ[name] for name in VARIABLES} })"
    s3.reset()
    model = {"model": TINY[1], "input_size": "64", "batch_size": "2", "workers": "2"}
    assert camcli.run(camcli.RunConfig(image_path=(str(photos),), output_dir="s3://bucket/one", **model)).exit_code == 3  # type: ignore[arg-type]
    requests = len(s3.requests)
    whole, killed = artefacts_at("s3://bucket/one"), 0
    while killed < kills:
        s3.reset()
        last = chance.randrange(1, requests * 2 // 3)
        running = forks.start((*command, run), before)
        s3.call_at(last, lambda running=running: running.send(signal.SIGKILL))
        code = running.wait()
        s3.reset()
        killed += code == -signal.SIGKILL
        assert code in (3, -signal.SIGKILL), running.err
        assert artefacts_at(run).items() <= whole.items()
        if code == 3 and killed < kills:
            remove(run, s3)
    code, running = forks.run((*command, run), before)
    assert code == 3, running.err
    assert artefacts_at(run) == whole
    assert index_at(run)["items"] == index_at("s3://bucket/one")["items"]
    assert index_at(run)["status"] == "complete"
    return killed


def remove(run: str, s3: FaultyServer) -> None:
    """Begin again."""
    from camcli.storage import file_system

    file_system(run).rm(run, recursive=True)
    s3.reset()
