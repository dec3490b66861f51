"""What is assumed is said once, on stderr, and recorded in the index; of ordinary models there is nothing to say."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import camcli
from tests.tiny import build

from ..conftest import HERE, Cam, Outcome, index_of, photographs

NAMES = HERE / "tiny_classes.txt"


def mirrored() -> tuple[nn.Module, Any]:
    import numpy as np

    def transform(image: Any) -> torch.Tensor:
        pixels = np.asarray(image.resize((64, 64)), np.float32)[:, ::-1]
        return torch.from_numpy(pixels / 255).permute(2, 0, 1)

    return build(), transform


def run(cam: Cam, folder: Path, *arguments: str) -> tuple[Outcome, list[str]]:
    outcome = cam("run", photographs()[0], "--save", "none", "--output-dir", folder, *arguments)
    return outcome, index_of(folder)["assumptions"]


def test_the_preprocessing_of_a_module_that_brings_none(cam: Cam, tmp_path: Path) -> None:
    outcome, lines = run(cam, tmp_path, "--model", "factory:tests.tiny:build", "--input-size", "64")
    assert outcome.code == 0
    line, classes = lines
    assert classes.startswith("the model's 4 outputs are taken for the logits of 4 classes")
    assert outcome.err.count(classes) == 1
    assert "mean 0.485, 0.456, 0.406 (--mean); deviation 0.229, 0.224, 0.225 (--std); crop: shorter" in line
    assert "--input-size" not in line  # it was given
    assert outcome.err.count(line) == 1
    assert line not in outcome.out


def test_nothing_is_said_where_all_is_stated_or_with_quiet(cam: Cam, tmp_path: Path) -> None:
    names = ("--class-names", str(NAMES))
    stated = ("--mean", "0.5", "--std", "0.5", "--input-size", "64", "--resize", "squash", *names)
    assert run(cam, tmp_path / "a", "--model", "factory:tests.tiny:build", *stated)[1] == []
    assert run(cam, tmp_path / "b", "--model", "builtin")[1] == []
    quiet, lines = run(cam, tmp_path / "c", "--model", "factory:tests.tiny:build", "--input-size", "64", "--quiet")
    assert len(lines) == 2
    assert quiet.err == ""


def test_the_whole_image_is_assumed_under_preprocessing_of_ones_own(cam: Cam, tmp_path: Path) -> None:
    names = ("--class-names", str(NAMES))
    (line,) = run(cam, tmp_path, "--model", "factory:tests.pipeline.test_assumptions:mirrored", *names)[1]
    assert "it turns, mirrors or bends the image" in line
    assert line.endswith("assumed: the whole image")


def test_a_random_model_is_named(cam: Cam, tmp_path: Path) -> None:
    outcome, lines = run(cam, tmp_path, "--model", "factory:tests.models.unsteady:dropout", "--input-size", "64")
    assert "channels-last" not in outcome.out + outcome.err
    assert sum("draws random numbers in its forward pass" in line for line in lines) == 1
    lines = run(cam, tmp_path / "b", "--model", "factory:tests.models.unsteady:random_crop")[1]
    assert any("preprocessing random_crop.<locals>.transform draws random numbers" in line for line in lines)


def test_python_users_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Named(nn.Sequential):
        pass

    net = Named(*build().features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))  # type: ignore[misc]
    with caplog.at_level(logging.WARNING, "camcli"):
        for _ in range(2):
            camcli.explain(net, photographs()[0], input_size=60)
    assert [r.name for r in caplog.records if "the model brings no preprocessing" in r.getMessage()] == ["camcli"]
    assert camcli.load_model(net, input_size=60, mean=0.5, std=0.5, resize="crop").assumptions == ()
