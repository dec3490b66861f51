"""Explaining a few images from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import camcli

from .conftest import photographs

SETTINGS = {"input_size": (64, 64), "class_names": str(Path(__file__).parent / "tiny_classes.txt")}


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
        f"gradcam/{layer}/{slot}" for layer in ("features.8", "features.5") for slot in ("top1", "top2", "class-2")
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
    from camcli.errors import ImageError, UsageError

    with pytest.raises(ImageError, match=r"x\.jpg: this is text"):
        camcli.explain(model, str(tmp_path / "x.jpg"))
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        camcli.explain(model, "nowhere.jpg")
    with pytest.raises(UsageError, match="uint8"):
        camcli.explain(model, np.zeros((4, 4, 3)))
    for nothing in (np.zeros((0, 3, 3), np.uint8), Image.new("RGB", (0, 3)), 3):
        with pytest.raises(UsageError, match=r"give a file name|uint8"):
            camcli.explain(model, [nothing])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="label"):
        camcli.explain(model, str(photographs()[0]), target="label")
    with pytest.raises(UsageError, match="gradcam"):
        camcli.explain(model, str(photographs()[0]), method="gradcan")
