"""Runs on CUDA give the same bits where all operations have a deterministic kernel, and name those that have none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camcli.config.settings import RunConfig
from camcli.pipeline.at_speed import at_speed
from camcli.pipeline.header import make_header
from camcli.pipeline.setup import prepare
from camcli.pipeline.stream import run
from tests.fake_cuda import fake_cuda
from tests.tiny import build

STRICT: list[bool] = []
LINE = (
    "made_up_cuda: CUDA has no deterministic kernel for it, so that the last digits of maps may differ from run to run"
)


class Refused(nn.Module):
    """Has an operation without a deterministic kernel, as torch treats those."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build()

    def forward(self, x: Tensor) -> Tensor:
        text = "made_up_cuda does not have a deterministic implementation, but you set 'use_deterministic_algorithms'"
        if torch.is_deterministic_algorithms_warn_only_enabled():
            warnings.warn(text, stacklevel=1)
        elif torch.are_deterministic_algorithms_enabled():
            raise RuntimeError(text)
        STRICT.append(False)
        result: Tensor = self.net(x)
        return result


class Watched(Refused):
    """Has none, and notes whether one would be an error."""

    def forward(self, x: Tensor) -> Tensor:
        is_on = torch.are_deterministic_algorithms_enabled()
        STRICT.append(is_on and not torch.is_deterministic_algorithms_warn_only_enabled())
        result: Tensor = self.net(x)
        return result


class Late(Refused):
    """Meets such an operation in trials alone, which are not tried beforehand."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == TRIALS:
            return super().forward(x)
        result: Tensor = self.net(x)
        return result


TRIALS = 5


def late() -> nn.Module:
    return Late()


def refused() -> nn.Module:
    return Refused()


def watched() -> nn.Module:
    return Watched()


def config(photos: Path, out: Path, model: str, **settings: Any) -> RunConfig:
    return RunConfig(
        image_path=(str(photos),), output_dir=str(out), layer=("net.features",), input_size="64", batch_size="2",
        model=f"factory:tests.device.test_deterministic_runs:{model}", precision="fp32", save=("none",), **settings,
    )  # fmt: skip


def test_an_operation_that_is_not_deterministic_is_named_and_the_run_goes_on(tmp_path: Path, samples: Path) -> None:
    with fake_cuda(), warnings.catch_warnings():
        warnings.filterwarnings("error", ".*deterministic.*")
        settings = config(samples, tmp_path / "out", "refused", device="cuda")
        assert make_header(prepare(settings), ())["assumptions"][-1] == LINE
        assert run(settings).counts["failed"] == 0
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("method", ["gradcam", "opticam"])
def test_otherwise_such_an_operation_would_be_an_error(tmp_path: Path, samples: Path, method: str) -> None:
    with fake_cuda():
        setup = prepare(config(samples, tmp_path / "out", "watched", device="cuda", method=(method,)))
        assert not any("deterministic" in line for line in setup.assumptions)
        with setup.model.prepared(), at_speed(setup) as faster:
            STRICT.clear()
            inputs = torch.zeros(2, 3, 64, 64).to("cuda")
            faster.explainer(inputs, lambda logits: logits.argmax(1, keepdim=True), [0, 1])
    assert STRICT
    assert all(STRICT)


def test_one_that_only_trials_meet_is_noted_with_the_images(tmp_path: Path, samples: Path) -> None:
    with fake_cuda():
        settings = config(
            samples, tmp_path / "out", "late", device="cuda", method=("rise",), option=(f"rise.masks={TRIALS}",)
        )
        run(settings)
    items = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))["items"]
    note = "made_up_cuda has no deterministic kernel: the last digits of the map may differ from run to run"
    assert [item["status"] for item in items] == ["ok"] * len(items)
    assert all(note in item["notes"] for item in items)


def test_a_cpu_is_left_alone(tmp_path: Path, samples: Path) -> None:
    STRICT.clear()
    run(config(samples, tmp_path / "out", "watched", device="cpu"))
    assert STRICT
    assert not any(STRICT)


def fingerprint(photos: Path, out: Path, **settings: Any) -> str:
    return make_header(prepare(config(photos, out, "watched", **settings)), ())["fingerprint"]


def test_a_run_of_one_device_is_not_continued_on_another(tmp_path: Path, samples: Path) -> None:
    here = fingerprint(samples, tmp_path, device="cpu")
    with fake_cuda():
        assert fingerprint(samples, tmp_path, device="cuda") != here
