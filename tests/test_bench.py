"""`cam bench` measures what it says; how fast is not for a test to judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from camcli import RunConfig
from camcli.bench import EndToEnd, ForwardPass, _smallest, bench, make_images, recommend_processes
from camcli.models import load_model
from camcli.speed import measure_forward_rate

TINY = ("--model", "factory:tests.tiny:build", "--input-size", "64", "--device", "cpu", "--seconds", "0.01")


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[1])


def test_document(cam: Callable[..., Any]) -> None:
    result = cam("bench", *TINY, "--batch-size", "4", "--json", "--limit", "12")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["schema"] == "camcli.bench/1"
    settings = {(f["setting"], f["precision"]) for f in document["forward"]}
    assert settings == {("plain", "fp32"), ("channels-last", "fp32"), ("folded", "fp32"), ("folded", "bf16")}
    assert all(f["images_per_second"] > 0 for f in document["forward"])
    end = document["end_to_end"]
    assert end["images"] == 12
    assert end["images_per_second"] == pytest.approx(end["images"] / end["seconds"])
    assert end["share"] == pytest.approx(end["images_per_second"] / document["ceiling"]["images_per_second"])
    assert set(end["stages"]) == {"decode", "preprocess", "model", "render", "encode", "write"}
    assert min(end["stages"].values()) > 0
    assert end["busy"][end["bottleneck"]] == max(end["busy"].values())
    assert set(document["recommended"]) == {"--batch-size", "--workers", "--precision", "--processes"}
    assert end["cores"] > 0


def test_for_people_and_of_own_images(cam: Callable[..., Any], samples: Path) -> None:
    result = cam("bench", *TINY, "--batch-size", "2", str(samples))
    assert result.code == 0, result.err
    assert "ceiling" in result.out
    assert "(6 images in" in result.out
    assert "recommended: --batch-size 2" in result.out
    assert "so few images do not represent a long run; use 8 or more" in result.out
    assert "so few" not in cam("bench", *TINY, "--batch-size", "1", str(samples)).out


@pytest.mark.parametrize(
    ("busy_cores", "model", "cores", "gpus", "kind", "count"),
    [
        (1.9, 0.95, 2, 0, "cpu", 1),  # the model has both cores
        (1.2, 0.1, 2, 0, "cpu", 2),  # one interpreter is the limit
        (7.0, 0.9, 8, 0, "cpu", 1),
        (1.3, 0.05, 16, 0, "cpu", 12),
        (2.0, 0.95, 16, 1, "cuda", 1),  # the GPU is busy
        (2.0, 0.25, 16, 1, "cuda", 4),  # it could do four times as much
        (2.0, 0.05, 16, 1, "cuda", 8),  # for which there are no cores
        (2.0, 0.5, 16, 4, "cuda", 8),
        (20.0, 0.5, 16, 4, "cuda", 4),  # but each GPU has one
        (2.0, 0.25, 16, 0, "cuda", 4),  # --device cuda:1
    ],
)
def test_processes_fill_the_machine(
    busy_cores: float, model: float, cores: int, gpus: int, kind: str, count: int
) -> None:
    busy = {"model": model, "loading": 0.1, "drawing": 0.1}
    end = EndToEnd(100, 1, 1, 100, 1, {}, busy, "model", busy_cores)
    assert recommend_processes(end, cores, gpus, kind) == count


def test_mistakes_are_usage_errors(cam: Callable[..., Any]) -> None:
    assert cam("bench", "--model", "no-such-model").code == 2
    assert cam("bench", *TINY, "--method", "gradcamm").code == 2


def test_the_ceiling_is_of_the_precision_of_the_run() -> None:
    config = RunConfig(model="factory:tests.tiny:build", input_size="64", device="cpu", precision="bf16", limit=4)
    result = bench(config, seconds=0.01)
    assert (result.ceiling.precision, result.ceiling.setting) == ("bf16", "folded")


def test_the_model_is_left_as_it_was() -> None:
    model = load_model("factory:tests.tiny:build", input_size=(64, 64), device=torch.device("cpu"))
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    with model.prepared():
        assert measure_forward_rate(model, 2, seconds=0.0) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def test_the_smallest_of_batches_about_as_fast() -> None:
    rates = {1: 5.0, 4: 9.8, 16: 10.0, 32: 9.9}
    assert _smallest([ForwardPass("folded", "fp32", size, rate) for size, rate in rates.items()], "fp32") == 4


def test_made_images_are_alike_each_time(tmp_path: Path) -> None:
    one, two = make_images(tmp_path / "a", 2), make_images(tmp_path / "b", 2)
    files = sorted(path.name for path in one.iterdir())
    assert files == ["00000.jpg", "00001.jpg"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


def test_compiled(cam: Callable[..., Any]) -> None:
    result = cam("bench", *TINY, "--batch-size", "4", "--json", "--limit", "8", "--compile")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    (compiled,) = [f for f in document["forward"] if f["setting"] == "compiled"]
    assert compiled["images_per_second"] > 0
    rates = [f["images_per_second"] for f in document["forward"] if f["precision"] == "fp32"]
    assert document["ceiling"]["images_per_second"] == max(rates)
