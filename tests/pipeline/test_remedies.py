"""Remedies follow from causes: what a run says of models that it cannot explain, or only by some methods."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import camcli
from camcli.errors import ModelError
from tests.conftest import Cam, Outcome

Run = Callable[..., Outcome]
ARRAY = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)


@pytest.fixture
def run(cam: Cam, tmp_path: Path) -> Run:
    """`cam run` on one picture with a network of :mod:`tests.unusual`."""
    Image.fromarray(ARRAY).save(tmp_path / "a.png")

    def call(name: str, method: str = "gradcam", *more: object) -> Outcome:
        model = ("--model", f"factory:tests.unusual:{name}", "--input-size", 64, "--method", method)
        done = cam("run", tmp_path / "a.png", "--output-dir", tmp_path / "out", *model, *more)
        assert "Traceback" not in done.out + done.err
        return done

    return call


def index(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "out" / "index.json").read_text())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("InferenceBlock", ["torch.inference_mode (", "unusual.py, line ", "with torch.inference_mode():"]),
        ("InferenceDecorator", ["torch.inference_mode (", "def forward"]),
        ("DetachedHead", ["Tensor.detach (", "maps.detach()"]),
        ("NumpyHead", ["Tensor.numpy (", "maps.numpy()"]),
        ("NoBackward", ["backward pass fails: NotImplementedError: no backward pass here", "unusual.py, line "]),
    ],
)
def test_a_score_without_a_gradient(run: Run, tmp_path: Path, name: str, words: list[str]) -> None:
    done = run(name)
    assert done.code == 2
    for word in [*words, "no gradient", "eigencam", "scorecam", "rise (without a layer)"]:
        assert word in done.err
    assert "--input-size" not in done.err
    assert not (tmp_path / "out" / "index.json").exists()
    named = run(name, "gradcam", "--layer", "features")
    assert named.code == 2
    assert "eigencam" in named.err
    assert run(name, "eigencam,ablationcam,scorecam").code == 0  # those that it lists
    [item] = index(tmp_path)["items"]
    assert [m["status"] for m in item["maps"]] == ["ok"] * 3


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("scripted", "TorchScript"), ("frozen_script", "TorchScript"), ("exported", "an exported program")],
)
def test_programs_are_named_and_rise_runs(run: Run, tmp_path: Path, name: str, kind: str) -> None:
    done = run(name)
    assert done.code == 2
    assert kind in done.err
    assert "Methods that work here: rise (without a layer)." in done.err
    assert run(name, "fullgrad").code == 2
    rise = ("rise", "--option", "rise.masks=8", "--target", 1, "--batch-size", 1, "--overwrite")
    assert run("Plain", *rise).code == 0
    wanted = index(tmp_path)["items"][0]
    assert run(name, *rise).code == 0
    found = index(tmp_path)["items"][0]
    assert found["predictions"][0]["logit"] == pytest.approx(wanted["predictions"][0]["logit"], rel=1e-4)
    assert found["maps"][0]["raw"]["max"] == pytest.approx(wanted["maps"][0]["raw"]["max"], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("InferenceOnly", "with gradients enabled, the model: a forward pass on an input of (1, 3, 64, 64) fails"),
        ("NotANumber", "returns no finite number for an image, but NaN or infinity"),
        ("lazy", "has parameters without a shape yet (0.weight)"),
        ("without_values", "is on the device `meta`, without values"),
    ],
)
def test_the_true_cause_is_named(run: Run, name: str, words: str) -> None:
    done = run(name)
    assert done.code == 2
    assert words in done.err


def test_a_mixed_list_says_which_methods_run(run: Run) -> None:
    done = run("DetachedHead", "eigencam,gradcam,rise")
    assert done.code == 2
    assert "gradcam needs the gradient; eigencam, rise run without." in done.err
    done = run("NoMap", "rise,gradcam")
    assert done.code == 2
    assert "no module returns a map of the image" in done.err
    assert "gradcam needs a layer; rise runs without." in done.err


@pytest.mark.parametrize("name", ["NoMap", "Siamese", "Views"])
def test_methods_that_need_no_layer_run_without_one(run: Run, tmp_path: Path, name: str) -> None:
    methods = "fullgrad,guidedbackprop,rise"
    assert run(name, methods, "--option", "rise.masks=8", "--target", 1).code == 0
    document = index(tmp_path)
    [item] = document["items"]
    assert document["layers"] == []
    assert [(m["method"], m["layer"], m["status"]) for m in item["maps"]] == [
        (method, None, "ok") for method in methods.split(",")
    ]


def test_guided_backpropagation_without_a_layer_is_the_gradient_of_a_network_of_one_relu() -> None:
    model = camcli.load_model("factory:tests.unusual:NoMap", input_size=(64, 64))
    [result] = camcli.explain(model, ARRAY, method="guidedbackprop", target=1, batch_size=1)
    x = model.preprocessing(Image.fromarray(ARRAY)).pixels
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (model.preprocessing.mean, model.preprocessing.std))
    pixels = (x.transpose(2, 0, 1) / 255 - mean) / std if x.dtype == np.uint8 else x
    first, last = model.module.layers[1], model.module.layers[3]
    hidden = first.weight.detach().numpy() @ pixels.ravel() + first.bias.detach().numpy()
    passed = np.where(hidden > 0, np.maximum(last.weight[1].detach().numpy(), 0), 0)
    gradient = (passed @ first.weight.detach().numpy()).reshape(3, 64, 64)
    maps = result.maps["guidedbackprop"]
    assert maps.layer is None
    np.testing.assert_allclose(maps.native, np.abs(gradient).max(0), rtol=1e-4, atol=1e-7)


def test_a_shared_encoder(run: Run) -> None:
    for layer in ("auto", "encoder"):
        done = run("siamese", "gradcam", "--layer", layer)
        assert done.code == 2
        assert "runs 2 times per pass" in done.err
        assert "encoder@1 or encoder@2" in done.err
    assert "so that it has no call 3" in run("siamese", "gradcam", "--layer", "encoder@3").err
    assert "counted from 1, as in encoder@1" in run("siamese", "gradcam", "--layer", "encoder@0").err


@pytest.mark.parametrize(("call", "alone"), [(1, "first_call"), (2, "second_call")])
def test_one_call_is_explained_as_if_there_were_no_other(call: int, alone: str) -> None:
    maps = {}
    for name, layer in (("siamese", f"encoder@{call}"), (alone, "encoder")):
        model = camcli.load_model(f"factory:tests.unusual:{name}", input_size=(64, 64))
        [result] = camcli.explain(model, ARRAY, method="gradcam,layercam", target=2, layer=layer, batch_size=1)
        assert {one.layer for one in result.maps.values()} == {layer}
        maps[name] = {key: one.native for key, one in result.maps.items()}
    assert np.abs(maps[alone]["gradcam"]).max() > 0
    for key, own in maps[alone].items():
        np.testing.assert_allclose(maps["siamese"][key], own, rtol=1e-4, atol=1e-7)


def test_several_views_an_image(run: Run) -> None:
    done = run("Views")
    assert done.code == 2
    assert "returns 2 maps for one image" in done.err


def test_one_image_at_a_time(run: Run, tmp_path: Path) -> None:
    done = run("OneImage")
    assert done.code == 2
    assert "fails on 5 at once" in done.err
    assert "--batch-size 1" in done.err
    assert run("OneImage", "gradcam,scorecam,ablationcam", "--batch-size", 1).code == 0
    one = index(tmp_path)["items"][0]
    assert run("Plain", "gradcam,scorecam,ablationcam", "--batch-size", 1, "--overwrite").code == 0
    plain = index(tmp_path)["items"][0]
    assert one["predictions"] == plain["predictions"]
    assert [m["attention"]["peak"] for m in one["maps"]] == [m["attention"]["peak"] for m in plain["maps"]]


def test_an_exception_of_the_users_code_is_shown_with_its_line(run: Run) -> None:
    done = run("Fails")
    assert done.code == 2
    assert "KeyError: 'missing'" in done.err
    assert 'return maps * table["missing"])' in done.err
    assert "--input-size" not in done.err
    done = run("FixedSize")
    assert done.code == 2
    assert "cannot be multiplied" in done.err
    assert "return self.head(maps.flatten(1))" in done.err
    assert "--input-size" in done.err
    assert run("FixedSize", "gradcam", "--input-size", 32).code == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("segmenter", "a segmenter"), ("detector", "a detector"), ("video", "a video model")],
)
def test_models_of_other_tasks_are_named(run: Run, name: str, words: str) -> None:
    done = run(name)
    assert done.code == 2
    assert words in done.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torchvision:fcn_resnet50", "a segmenter"), ("fcn_resnet50", "a segmenter"),
        ("torchvision:r3d_18", "a video model"), ("torchvision:ssd300_vgg16", "a detector"),
        ("torchvision:raft_small", "optical flow"),
    ],
)  # fmt: skip
def test_models_of_torchvision_for_other_tasks_are_named(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        camcli.load_model(name, weights="random")
