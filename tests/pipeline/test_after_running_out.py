"""What a CUDA run does when its memory runs out, on the made-up device, and how its runs are opened again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camcli.checks.reopened import _on_cpu
from camcli.config.settings import RunConfig
from camcli.pipeline.header import make_header
from camcli.pipeline.setup import prepare
from camcli.pipeline.stream import run
from tests.conftest import SAMPLES
from tests.fake_cuda import fake_cuda
from tests.tiny import build

MOST = 6
"""The verification of a layer takes five images at once."""
HERE = "factory:tests.pipeline.test_after_running_out:"


class Small(nn.Module):
    """Takes six images at once, as a device with little memory does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build()

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > MOST:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        result: Tensor = self.net(x)
        return result


def small() -> nn.Module:
    return Small()


def config(out: Path, **settings: Any) -> RunConfig:
    stated: dict[str, Any] = {
        "image_path": (str(SAMPLES),), "output_dir": str(out), "model": f"{HERE}small", "layer": ("net.features",),
        "input_size": "64", "precision": "fp32", "save": ("none",), "device": "cuda",
    }  # fmt: skip
    return RunConfig(**stated | settings)


@pytest.mark.parametrize("size", ["16", "auto"])
def test_a_batch_that_does_not_fit_is_halved_and_no_error(tmp_path: Path, size: str) -> None:
    with fake_cuda():
        settings = config(tmp_path / "out", batch_size=size)
        assert prepare(settings).batch_size == (16 if size == "16" else 4)
        assert run(settings).counts["failed"] == 0
    items = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))["items"]
    notes = [note for item in items for note in item["notes"] if "running out of memory" in note]
    assert bool(notes) == (size == "16")


def test_trials_of_another_format_are_recorded_where_a_method_has_them(tmp_path: Path) -> None:
    with fake_cuda():
        own = {"model": "factory:tests.tiny:build", "layer": ("features",), "batch_size": "2"}
        for method, given, trials in (
            ("gradcam", "auto", None),
            ("scorecam", "auto", "fp32"),
            ("scorecam", "bf16", None),
        ):
            header = make_header(prepare(config(tmp_path, method=(method,), precision=given, **own)), ())
            assert header["environment"]["precision"] == "bf16"
            assert header["environment"].get("trials") == trials


def test_a_cpu_takes_the_format_that_it_has(tmp_path: Path) -> None:
    settings = config(tmp_path, precision="tf32")
    assert (_on_cpu(settings).precision, _on_cpu(settings).device) == ("fp32", "cpu")
    assert _on_cpu(replace(settings, precision="bf16")).precision == "bf16"
