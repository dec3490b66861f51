"""Models that are random, or change while they run: seeded, put back, or refused; two runs never differ silently."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import camcli
from camcli.errors import ModelError
from camcli.models import load_model
from camcli.models.output_examination import examine
from camcli.models.repetition import make_repeatable
from camcli.randomness import repeat, seeded

from ..conftest import photographs
from . import unsteady


def test_what_draws_random_numbers_is_random_though_its_output_is_equal() -> None:
    state, numbers, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    rng = np.random.default_rng(0)
    kinds = [
        repeat(run, torch.equal).kind  # type: ignore[arg-type]
        for run in (
            lambda: torch.ones(3),
            lambda: torch.rand(3),
            lambda: torch.tensor(np.random.randn()),
            lambda: torch.tensor(random.random()),
            lambda: torch.zeros(3) * torch.rand(3),
            lambda: torch.tensor(rng.random()),
        )
    ]
    assert kinds == ["constant", "random", "random", "random", "random", "unrepeatable"]
    assert random.getstate() == state
    assert np.array_equal(np.random.get_state()[1], numbers[1])
    assert torch.get_rng_state().equal(own)


def test_seeded_restores_the_generators_when_something_fails() -> None:
    own = torch.get_rng_state()

    def fail() -> None:
        torch.rand(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), seeded(3):
        fail()
    assert torch.get_rng_state().equal(own)


def run(name: str, folder: Path, images: list[Path], **settings: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "image_path": [str(path) for path in images], "output_dir": str(folder), "save": "none", "input_size": "64",
        "model": f"factory:tests.models.unsteady:{name}", "method": "gradcam,ablationcam",
    }  # fmt: skip
    camcli.run(camcli.RunConfig(**{**config, **settings}))
    index: dict[str, Any] = json.loads((folder / "index.json").read_text("utf-8"))
    return index


@pytest.mark.parametrize(
    "name", ["dropout", "numpy_noise", "stochastic_depth", "running_mean", "batch_statistics", "random_crop"]
)
def test_two_runs_agree_and_an_image_does_not_depend_on_the_others(name: str, tmp_path: Path) -> None:
    images = photographs()[:3]
    settings = {"input_size": None} if name == "random_crop" else {}
    torch.manual_seed(1)
    first = run(name, tmp_path / "a", images, **settings)
    torch.manual_seed(2)  # the state that a process happens to be in must not matter
    again = run(name, tmp_path / "b", images, **settings)
    alone = run(name, tmp_path / "c", images[2:], **settings)
    other = run(name, tmp_path / "d", images, seed=1, **settings)
    assert first["items"] == again["items"]
    assert first["items"][2]["maps"] == alone["items"][0]["maps"]
    is_random = name not in ("running_mean", "batch_statistics")
    assert (first["items"] != other["items"]) == is_random
    assert first["config"]["batch_size"] == (12 if name == "random_crop" else 1)


def test_an_interrupted_run_continues_with_the_same_random_numbers(tmp_path: Path) -> None:
    images = photographs()[:3]
    whole = run("dropout", tmp_path / "whole", images)
    run("dropout", tmp_path / "parts", images, limit=2)
    assert run("dropout", tmp_path / "parts", images)["items"] == whole["items"]


def test_images_of_one_run_get_different_random_numbers() -> None:
    model = load_model(unsteady.numpy_noise(), input_size=64)
    images = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), np.uint8) for i in range(3)]
    noisy = [r.predictions[0].logit for r in camcli.explain(model, images, target=0)]
    plain = [r.predictions[0].logit for r in camcli.explain(load_model(unsteady.steady(), input_size=64), images)]
    assert len({round(a / b, 3) for a, b in zip(noisy, plain, strict=True)}) > 1


def test_the_state_that_a_module_had_is_the_one_it_has() -> None:
    net = unsteady.running_mean()
    net.mean.fill_(0.25)
    camcli.explain(net, photographs()[0], input_size=64)
    assert float(net.mean) == 0.25
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


@pytest.mark.parametrize("name", ["counter", "own_generator"])
def test_what_no_seed_repeats_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"two passes of the same image give different outputs.*order of the images"):
        camcli.explain(getattr(unsteady, name)(), photographs()[0], input_size=64)


def test_a_steady_model_is_run_for_two_images_and_then_as_before() -> None:
    model = load_model(unsteady.steady(), input_size=64)
    images = 0

    def count(_: object, inputs: tuple[torch.Tensor]) -> None:
        nonlocal images
        images += len(inputs[0])

    handle = model.module.register_forward_pre_hook(count)
    with model.prepared():
        examined = examine(model)
    handle.remove()
    assert images == 2
    assert make_repeatable(examined.model, examined.repeated, 0).passes is None


def test_the_layer_does_not_depend_on_the_seed() -> None:
    """Nor on what the first draw of a model drops."""
    layers = []
    for seed in (1, 5):  # of which the first draw is zero
        (result,) = camcli.explain(unsteady.dropped_paths(), photographs()[0], input_size=64, seed=seed)
        layers.append(result.maps["gradcam"].layer)
    assert layers[0] == layers[1]
