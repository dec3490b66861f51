"""Faults 22 and 23: memory that runs out in the model, workers that die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camcli.explainer import Explainer
from camcli.images import decode
from camcli.pipeline.items import explained_row
from tests.conftest import index_of
from tests.out_of_memory import FORMS

from .conftest import TINY, Tiny, pictures
from .test_bad_images import outcome

ALTERED = (*TINY[2:], "--layer", "altered")


def maps_of(run_dir: Path) -> np.ndarray:
    return np.stack([np.load(path) for path in sorted((run_dir / "raw").rglob("*.npy"))])


@pytest.mark.parametrize(("most", "form"), [(4, "allocator"), (3, "driver"), (1, "cublas")])
def test_out_of_gpu_memory_halves_the_batch(
    most: int, form: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(tmp_path / "photos", 11)
    command = ("--batch-size", 8, "--save", "raw", "--output-dir")
    assert tiny(photos, *command, tmp_path / "whole").code == 0
    true, sizes = Explainer.__call__, []

    def explain(self: Explainer, inputs: torch.Tensor, *more: Any, **named: Any) -> Any:
        sizes.append(len(inputs))
        if len(inputs) > most:
            raise FORMS[form]
        return true(self, inputs, *more, **named)

    monkeypatch.setattr(Explainer, "__call__", explain)
    done = tiny(photos, *command, tmp_path / "out")
    assert done.code == 0, done.err
    end = {4: 4, 3: 2, 1: 1}[most]
    halved = [size for size in (8, 4, 2, 1) if size >= end]
    assert sizes == [*halved[:-1], *[end] * -(-8 // end), *[end] * -(-3 // end)]  # halved once, then kept
    whole, small = maps_of(tmp_path / "whole"), maps_of(tmp_path / "out")
    assert np.abs(whole - small).max() <= 1e-4 * np.abs(whole).max()
    for item in index_of(tmp_path / "out")["items"]:
        assert item["notes"] == [f"explained in a batch of {end} after running out of memory"]
    assert index_of(tmp_path / "out")["config"]["batch_size"] == 8
    monkeypatch.undo()
    assert tiny(photos, *command, tmp_path / "out").code == 0  # the run is the same one for a resume


def test_real_memory_that_runs_out_on_the_cpu(cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 5)
    Image.new("RGB", (64, 64), "red").save(photos / "0001a.png")
    command = ("run", photos, "--model", "factory:tests.faults.models:hungry", *ALTERED, "--save", "raw")
    assert cam(*command, "--batch-size", 3, "--output-dir", tmp_path / "small").code == 0
    done = cam(*command, "--batch-size", 6, "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    assert np.abs(maps_of(tmp_path / "out") - maps_of(tmp_path / "small")).max() == 0
    assert "in a batch of 3" in index_of(tmp_path / "out")["items"][5]["notes"][0]


def test_one_image_that_never_fits_is_named(cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 5)
    Image.new("RGB", (64, 64), "red").save(photos / "0001a.png")
    command = ("run", photos, "--model", "factory:tests.faults.models:starving", *ALTERED, "--batch-size", 4)
    done = cam(*command, "--output-dir", tmp_path / "out")
    assert done.code == 3
    assert "failed   0001a.png: one image does not fit into memory of cpu (out-of-memory)" in done.err
    assert list(outcome(tmp_path / "out").values()).count("ok") == 5


def test_a_device_that_is_lost_ends_the_run(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a CUDA error every later call fails too: a million images must not all be named for it."""
    photos = pictures(tmp_path / "photos", 6)
    true, calls = Explainer.__call__, []

    def explain(self: Explainer, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return true(self, *arguments, **named)

    monkeypatch.setattr(Explainer, "__call__", explain)
    done = tiny(photos, "--batch-size", 2, "--output-dir", tmp_path / "out")
    assert done.code == 1
    assert "cam: cpu failed (RuntimeError: CUDA error: an illegal memory access was encountered)" in done.err
    assert "the same command continues" in done.err
    index = index_of(tmp_path / "out")
    assert (index["status"], index["counts"]["ok"], index["counts"]["failed"]) == ("aborted", 4, 0)
    monkeypatch.undo()
    assert tiny(photos, "--batch-size", 2, "--output-dir", tmp_path / "out").code == 0


@pytest.mark.parametrize("lost", [SystemExit(3), GeneratorExit(), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("stage", ["decode", "draw"])
def test_a_worker_is_lost_once_then_twice(
    stage: str, lost: BaseException, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(tmp_path / "photos", 5)
    assert tiny(photos, "--output-dir", tmp_path / "whole").code == 0
    deaths: dict[tuple[int, ...], int] = {}
    once, always = 0, 1

    def dying(work: Callable[..., Any], key: Callable[..., int]) -> Callable[..., Any]:
        lock = threading.Lock()

        def call(*arguments: Any, **more: Any) -> Any:
            with lock:
                number = key(*arguments)
                deaths[(number,)] = deaths.get((number,), 0) + 1
                dies = number == always or (number == once and deaths[(number,)] == 1)
            if dies:
                raise lost
            return work(*arguments, **more)

        return call

    sizes = [path.stat().st_size for path in sorted(photos.iterdir())]
    if stage == "decode":
        dies = dying(decode, lambda data, _: sizes.index(len(data)))
        monkeypatch.setattr("camcli.pipeline.loader.decode", dies)
    else:
        dies = dying(explained_row, lambda explanation, *_: sizes.index(explanation.loaded.metadata.bytes))
        monkeypatch.setattr("camcli.pipeline.writer.explained_row", dies)
    done = tiny(photos, "--output-dir", tmp_path / "out")
    assert done.code == 3, done.err
    found = outcome(tmp_path / "out")
    assert found.pop("0001.png") == "worker-died"
    assert set(found.values()) == {"ok"}
    doing = "reading" if stage == "decode" else "drawing"
    assert f"failed   0001.png: the worker was lost twice on {doing} this image ({type(lost).__name__}" in done.err
    whole = {item["image"]: item for item in index_of(tmp_path / "whole")["items"]}
    assert all(item == whole[item["image"]] for item in index_of(tmp_path / "out")["items"] if item["status"] == "ok")


def test_the_users_own_preprocessing_ends_the_thread(cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 3)
    Image.new("RGB", (50, 50), "red").save(photos / "always.png")
    Image.new("RGB", (51, 51), "red").save(photos / "once.png")
    model = ("--model", "factory:tests.faults.models:exiting_preprocessing")
    done = cam("run", photos, *model, "--output-dir", tmp_path / "out")
    assert done.code == 3, done.err
    found = outcome(tmp_path / "out")
    assert found.pop("always.png") == "worker-died"
    assert set(found.values()) == {"ok"}
