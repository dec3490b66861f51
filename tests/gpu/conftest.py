"""Tests of a real CUDA device: `pytest tests/gpu`, in one process; skipped where there is none.

With ``CAM_FAKE_CUDA=1`` they run on the made-up device of :mod:`tests.fake_cuda`, which shows whether they can run at
all; those that need a real one are skipped then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks.photographs import make_photographs
from tests.fake_cuda import fake_cuda

HERE = Path(__file__).resolve().parent
IS_FAKE = bool(os.environ.get("CAM_FAKE_CUDA")) and not torch.cuda.is_available()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """None: the tests share one device, and some measure it."""
    return 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker("cuda")
        if not IS_FAKE and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
        elif IS_FAKE and item.get_closest_marker("real"):
            item.add_marker(pytest.mark.skip(reason="needs a real CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def device() -> Iterator[torch.device]:
    with ExitStack() as stack:
        if IS_FAKE:
            stack.enter_context(fake_cuda())
        yield torch.device("cuda:0")


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 photographs."""
    folder = tmp_path_factory.mktemp("crops")
    make_photographs(folder, 24)
    return folder


@pytest.fixture
def report() -> Iterator[dict[str, Any]]:
    """What is put in is printed, and appended as a line of JSON to the file that CAM_GPU_REPORT names."""
    import json

    values: dict[str, Any] = {}
    yield values
    line = json.dumps({"device": torch.cuda.get_device_name(0), "torch": torch.__version__, **values})
    print(f"\n{line}")
    if path := os.environ.get("CAM_GPU_REPORT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
