"""Modules that are in memory already: explained as they are, and left as they were found."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camcli
from camcli.errors import ModelError
from tests.tiny import CLASSES, build

from ..conftest import photographs

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
STATED: dict[str, Any] = {"mean": MEAN, "std": STD, "input_size": 64, "class_names": CLASSES}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return build()


def grad_cam(module: nn.Module, inputs: torch.Tensor, target: int) -> np.ndarray:
    """The formula, written down: the activation weighted by the mean gradient of the logit."""
    activation = module.features(inputs).detach().requires_grad_()  # type: ignore[operator]
    logit = module.head(activation.mean((2, 3)))[0, target]  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(logit, activation)
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1)[0].detach().numpy()


def preprocessed(path: Path) -> torch.Tensor:
    """What torchvision's Resize(73), CenterCrop(64), ToTensor and Normalize make of a file, written down."""
    image = Image.open(path).convert("RGB")
    width, height = (int(73 * side / min(image.size)) for side in image.size)
    left, top = round((width - 64) / 2), round((height - 64) / 2)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + 64, top + 64)))
    return torch.from_numpy((pixels / 255 - MEAN) / STD).permute(2, 0, 1)[None].float()


def test_a_module_gives_the_map_of_the_formula_and_the_models_own_probability(net: nn.Module) -> None:
    path = photographs()[0]
    inputs = preprocessed(path)
    with torch.no_grad():
        logits = copy.deepcopy(net).eval()(inputs)[0]
    (result,) = camcli.explain(net, path, layer="features", target="cup", **STATED)
    map_result = result.maps["gradcam"]
    expected = grad_cam(copy.deepcopy(net).eval(), inputs, 2)
    assert np.abs(map_result.native - expected).max() <= 1e-5 * np.abs(expected).max()
    assert map_result.target is not None
    assert (map_result.target.index, map_result.target.name) == (2, "cup")
    assert map_result.target.probability == pytest.approx(float(logits.softmax(0)[2]), rel=1e-5)
    assert map_result.target.logit == pytest.approx(float(logits[2]), rel=1e-4)
    assert result.predictions[0].index == int(logits.argmax())


def test_the_module_is_left_as_it_was_found(net: nn.Module) -> None:
    module = copy.deepcopy(net).train()
    features: Any = module.features
    features[0].requires_grad_(False)
    features[1].eval()
    called: list[int] = []
    handle = features[3].register_forward_hook(lambda *_: called.append(1))
    loss = module(torch.rand(2, 3, 64, 64)).sum()
    loss.backward()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}
    modes = {name: part.training for name, part in module.named_modules()}
    needs = {name: p.requires_grad for name, p in module.named_parameters()}
    hooks = {name: (len(part._forward_hooks), len(part._forward_pre_hooks)) for name, part in module.named_modules()}
    random_state = torch.random.get_rng_state()

    camcli.explain(module, photographs()[0], method="gradcam,eigencam,ablationcam", **STATED)

    assert all(value.equal(state[name]) for name, value in module.state_dict().items())
    for name, parameter in module.named_parameters():
        assert (parameter.grad is None) == (grads[name] is None)
        assert parameter.grad is None or parameter.grad.equal(grads[name])
    assert {name: part.training for name, part in module.named_modules()} == modes
    assert {name: p.requires_grad for name, p in module.named_parameters()} == needs
    assert hooks == {
        name: (len(part._forward_hooks), len(part._forward_pre_hooks)) for name, part in module.named_modules()
    }
    assert torch.random.get_rng_state().equal(random_state)
    assert called
    handle.remove()


def test_a_loaded_module_equals_a_run_of_the_command_line(net: nn.Module, tmp_path: Path) -> None:
    paths = photographs()[:3]
    model = camcli.load_model(net, input_size=(64, 64))
    results = camcli.explain(model, paths)
    camcli.run(
        camcli.RunConfig(
            image_path=[str(path) for path in paths], output_dir=str(tmp_path / "out"), save="raw",
            model="factory:tests.tiny:build", input_size="64",
        )  # type: ignore[arg-type]
    )  # fmt: skip
    for path, result in zip(paths, results, strict=True):
        (written,) = (np.load(file) for file in (tmp_path / "out" / "raw").rglob(f"{path.name}.npy"))
        assert np.abs(written - result.maps["gradcam"].native).max() <= 1e-4 * np.abs(written).max()


def test_what_a_timm_module_states_is_used() -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("test_vit", pretrained=False, num_classes=5)
    model = camcli.load_model(module)
    config = module.pretrained_cfg
    assert (model.preprocessing.mean, model.preprocessing.std) == (tuple(config["mean"]), tuple(config["std"]))
    assert model.preprocessing.mean == (0.5, 0.5, 0.5)
    assert (model.preprocessing.height, model.preprocessing.interpolation) == (160, "bicubic")
    assert (model.name, model.source, model.num_classes) == ("test_vit", "memory", 5)
    assert model.class_names is None  # those of ImageNet are not of five classes
    larger = timm.create_model("test_vit", pretrained=False, img_size=192)
    assert camcli.load_model(larger).preprocessing.height == 192


def test_any_preprocessing_can_be_given(net: nn.Module) -> None:
    path = photographs()[0]

    def own(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image.resize((64, 64)), np.float32)).permute(2, 0, 1) / 128 - 1

    (result,) = camcli.explain(net, path, layer="features", target=1, preprocessing=own)
    expected = grad_cam(copy.deepcopy(net).eval(), own(Image.open(path).convert("RGB"))[None], 1)
    assert np.abs(result.maps["gradcam"].native - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(TypeError, match=r"preprocessing: int is not accepted. Give a callable"):
        camcli.explain(net, path, preprocessing=3)


def test_an_encoder_has_maps_without_a_class(net: nn.Module) -> None:
    features: Any = net.features
    (result,) = camcli.explain(features, photographs()[0], method="eigencam", input_size=64)
    assert result.predictions == ()
    assert result.maps["eigencam"].target is None
    assert result.maps["eigencam"].native.shape == (8, 8)


def test_settings_that_cannot_apply_are_refused(net: nn.Module) -> None:
    path = photographs()[0]
    with pytest.raises(ModelError, match="checkpoint: of models that are loaded by name"):
        camcli.load_model(net, checkpoint="x.pt")
    with pytest.raises(TypeError, match=r"mean: for a torch.nn.Module; this model is loaded already"):
        camcli.explain(camcli.load_model(net, input_size=64), path, mean=0.5)
    with pytest.raises(ModelError, match="meta"):
        camcli.load_model(nn.Linear(3, 4, device="meta"))
    with pytest.raises(ModelError, match="3 names for the 4 classes"):
        camcli.load_model(net, input_size=64, class_names=["a", "b", "c"])


@pytest.mark.parametrize("names", [list(CLASSES), dict(enumerate(CLASSES)), {c: i for i, c in enumerate(CLASSES)}])
def test_class_names_are_a_list_or_a_mapping(net: nn.Module, names: Any) -> None:
    loaded = camcli.load_model(net, input_size=64, class_names=names)
    assert loaded.class_names is not None
    assert loaded.class_names.names == CLASSES
