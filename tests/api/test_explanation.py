"""Explaining a few images from Python."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import camcli
from camcli.api import inputs
from camcli.errors import ImageError, UsageError
from camcli.explainer import Explainer
from camcli.render import Drawing, Style, make_canvas

from ..conftest import photographs

SETTINGS = {"input_size": (64, 64), "class_names": str(Path(__file__).parents[1] / "tiny_classes.txt")}


@pytest.fixture(scope="module")
def model() -> camcli.Model:
    return camcli.load_model("factory:tests.tiny:build", **SETTINGS)  # type: ignore[arg-type]


def test_files_arrays_and_pillow_images_are_the_same_image(model: camcli.Model) -> None:
    path = photographs()[0]
    picture = Image.open(path).convert("RGB")
    results = camcli.explain(model, [str(path), np.asarray(picture), picture], method="gradcam,layercam")
    assert len(results) == 3
    for result in results:
        assert set(result.maps) == {"gradcam", "layercam"}
        assert np.array_equal(result.maps["gradcam"].native, results[0].maps["gradcam"].native)
        assert [p.index for p in result.predictions] == [p.index for p in results[0].predictions]
        assert result.maps["gradcam"].overlay().size == picture.size
        assert result.maps["gradcam"].heatmap(max_side=32).size[0] <= 32
    first = results[0].maps["gradcam"]
    assert first.native.dtype == np.float32
    assert first.native.shape == (8, 8)
    assert first.target.name in ("cat", "dog", "cup", "flower")
    assert first.target.chosen_by == "predicted"
    assert 0 <= first.normalised.min() <= first.normalised.max() <= 1


def test_python_and_the_command_line_agree(model: camcli.Model, tmp_path: Path) -> None:
    path = photographs()[1]
    alone = camcli.explain(model, str(path), batch_size=1)[0].maps["gradcam"].native
    summary = camcli.run(
        camcli.RunConfig(
            image_path=[str(path)], output_dir=str(tmp_path / "out"), save="raw", model="factory:tests.tiny:build",
            input_size="64", batch_size=1,
        )  # type: ignore[arg-type]
    )  # fmt: skip
    assert summary.exit_code == 0
    assert summary.counts["ok"] == 1
    written = np.load(tmp_path / "out" / "raw" / "gradcam" / f"{path.name}.npy")
    # A run folds batch norms, which a call from Python does not find worth its time: equal but for rounding.
    assert np.abs(written - alone).max() < 1e-4 * np.abs(alone).max()


def test_several_targets_and_layers_name_their_maps(model: camcli.Model) -> None:
    result = camcli.explain(
        model, str(photographs()[0]), target="top:2,cup", layer=["features.8", "features.5"], method="gradcam"
    )[0]
    assert set(result.maps) == {
        f"gradcam/{layer}/{level}" for layer in ("features.8", "features.5") for level in ("top1", "top2", "class-2")
    }
    assert result.maps["gradcam/features.5/class-2"].target.name == "cup"
    assert result.maps["gradcam/features.5/class-2"].layer == "features.5"


def test_the_model_is_left_as_it_was(model: camcli.Model) -> None:
    from tests.tiny import build

    module = build().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    import dataclasses

    own = dataclasses.replace(model, module=module)
    camcli.explain(own, str(photographs()[0]), method="gradcam,eigencam")
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_bad_input_is_said_so(model: camcli.Model, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"x\.jpg: this is text"):
        camcli.explain(model, str(tmp_path / "x.jpg"))
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        camcli.explain(model, "nowhere.jpg")
    with pytest.raises(UsageError, match=r"a folder.*camcli\.run"):
        camcli.explain(model, tmp_path)
    for nothing in (np.zeros((0, 3, 3), np.uint8), Image.new("RGB", (0, 3))):
        with pytest.raises(UsageError, match="pixels"):
            camcli.explain(model, [nothing])
    with pytest.raises(UsageError, match="label"):
        camcli.explain(model, str(photographs()[0]), target="label")
    with pytest.raises(UsageError, match="gradcam"):
        camcli.explain(model, str(photographs()[0]), method="gradcan")


def noise(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (70, 80, 3), dtype=np.uint8) for i in range(count)]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches that are explained."""
    events: list[str] = []
    explain = Explainer.__call__

    def recorded(self: Explainer, inputs: torch.Tensor, *more: Any, **named: Any) -> Any:
        events.append(f"batch of {len(inputs)}")
        return explain(self, inputs, *more, **named)

    monkeypatch.setattr(Explainer, "__call__", recorded)
    return events


def test_images_of_any_iterable_are_read_batch_by_batch(model: camcli.Model, events: list[str]) -> None:
    images = noise(5)

    def source() -> Iterator[np.ndarray]:
        for i, image in enumerate(images):
            events.append(f"image {i}")
            yield image

    results = camcli.explain(model, source(), batch_size=2)
    assert events == [
        "image 0", "image 1", "batch of 2", "image 2", "image 3", "batch of 2", "image 4", "batch of 2"
    ]  # fmt: skip
    for one, other in zip(results, camcli.explain(model, images, batch_size=2), strict=True):
        assert np.array_equal(one.maps["gradcam"].native, other.maps["gradcam"].native)


def test_a_result_does_not_depend_on_the_number_of_images(model: camcli.Model, events: list[str]) -> None:
    images = noise(17)
    together = camcli.explain(model, images, method="gradcam,scorecam", batch_size=16)
    assert events == ["batch of 16", "batch of 16"]
    assert len(together) == 17
    for i in (0, 7, 16):
        (alone,) = camcli.explain(model, images[i], method="gradcam,scorecam", batch_size=16)
        assert alone.predictions == together[i].predictions
        for key, one in alone.maps.items():
            assert np.array_equal(one.native, together[i].maps[key].native), key


def test_a_result_holds_the_content_of_a_file_and_not_its_pixels(
    model: camcli.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, pixels in zip(paths, noise(5), strict=True):
        Image.fromarray(pixels).save(path)
    decoded: list[weakref.ref[Image.Image]] = []
    alive: list[int] = []
    true = inputs.decode

    def decode(*arguments: Any) -> Any:
        alive.append(sum(image() is not None for image in decoded))
        result = true(*arguments)
        decoded.append(weakref.ref(result.image))
        return result

    monkeypatch.setattr(inputs, "decode", decode)
    results = camcli.explain(model, paths, batch_size=2)
    assert alive == [0] * 5
    paths[4].unlink()  # a temporary file may be gone, and another may lie in its place
    os.replace(paths[0], paths[1])
    for number in (0, 1, 4):
        map_result = results[number].maps["gradcam"]
        assert np.array_equal(np.asarray(map_result.image), noise(5)[number])
        assert map_result.overlay().size == map_result.heatmap().size == (80, 70)


def test_gamma_is_that_of_a_run(model: camcli.Model) -> None:
    one = camcli.explain(model, noise(1))[0].maps["gradcam"]
    canvas = make_canvas(np.asarray(one.image), one.view, 0)
    for kind, draw in (("overlay", one.overlay), ("heatmap", one.heatmap)):
        drawing = Drawing(one.native, canvas, one.model_size, Style(gamma=0.5))
        assert np.array_equal(np.asarray(draw(gamma=0.5)), drawing.picture(kind)[..., ::-1])  # type: ignore[operator]
        assert not np.array_equal(np.asarray(draw(gamma=0.5)), np.asarray(draw()))  # type: ignore[operator]


def test_memory_that_runs_out_halves_the_batch(model: camcli.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(11)
    whole = camcli.explain(model, images, batch_size=8)
    explain, sizes = Explainer.__call__, []

    def small(self: Explainer, inputs: torch.Tensor, *more: Any, **named: Any) -> Any:
        sizes.append(len(inputs))
        if len(inputs) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return explain(self, inputs, *more, **named)

    monkeypatch.setattr(Explainer, "__call__", small)
    most = 3
    halved = camcli.explain(model, images, batch_size=8)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2]
    for one, other in zip(whole, halved, strict=True):
        native = one.maps["gradcam"].native
        assert np.abs(native - other.maps["gradcam"].native).max() <= 1e-4 * np.abs(native).max()
    most = 0
    with pytest.raises(torch.cuda.OutOfMemoryError):
        camcli.explain(model, images, batch_size=8)
