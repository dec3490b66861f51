"""An evaluation on a device that is too small for its batches goes on with smaller ones, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import camcli
from camcli.config.settings import RunConfig
from camcli.evaluation import EvalOptions, Evaluation, entries, evaluate
from camcli.evaluation.scorer import ClassScorer
from camcli.explainer import Explainer
from tests.conftest import photographs

OPTIONS = EvalOptions(metrics=("adcc",), baselines=False)


def small_device(fits: int, error: type[Exception], seen: list[int]) -> type[Explainer]:
    """Explainers of a device whose memory holds so many inputs."""

    class Small(Explainer):
        def __call__(self, inputs: torch.Tensor, *more: Any, **options: Any) -> Any:
            if len(inputs) > fits:
                raise error("CUDA out of memory. Tried to allocate 2.00 GiB")
            seen.append(len(inputs))
            return super().__call__(inputs, *more, **options)

    return Small


def evaluated(folder: Path) -> Evaluation:
    config = RunConfig(
        image_path=(str(folder),), model="factory:tests.tiny:build", input_size="64", save=("none",), batch_size="4",
        method=("gradcam",),
    )  # fmt: skip
    return evaluate(config, OPTIONS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        Image.open(photographs()[number]).convert("RGB").resize((80, 80)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, torch.AcceleratorError, RuntimeError])
def test_maps_of_masked_images_are_made_in_halves(
    photos: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    whole = evaluated(photos)
    seen: list[int] = []
    monkeypatch.setattr(entries, "Explainer", small_device(1, error, seen))
    halved = evaluated(photos)
    assert set(seen) == {1}
    assert halved.values["gradcam"]["adcc"] == pytest.approx(whole.values["gradcam"]["adcc"], abs=1e-4)
    note = "maps of masked images were made 1 at a time after memory ran out"
    assert note in halved.notes
    assert note not in whole.notes


def test_one_image_that_does_not_fit_ends_it(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "Explainer", small_device(0, torch.cuda.OutOfMemoryError, []))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        evaluated(photos)


def test_scores_are_not_tried_again_at_a_size_that_did_not_fit() -> None:
    sizes: list[int] = []

    class Small(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            sizes.append(len(inputs))
            if len(inputs) > 3:
                raise torch.AcceleratorError("CUDA error: out of memory")
            return inputs.flatten(1)[:, :4]

    scorer = ClassScorer(camcli.load_model(Small(), input_size=(2, 2)))
    inputs, classes = torch.randn(8, 3, 2, 2), torch.arange(8) % 4
    sizes.clear()
    expected = inputs.flatten(1)[:, :4].softmax(1).gather(1, classes[:, None])[:, 0]
    for _ in range(2):
        assert torch.allclose(scorer(inputs, classes), expected)
    assert sizes == [8, 4, *[2] * 4, *[2] * 4]
