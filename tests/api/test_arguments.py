"""Targets, layers, methods and settings as Python users write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camcli
from camcli.errors import ConfigError, LayerError, TargetError, UsageError
from tests.tiny import build

from ..conftest import photographs

NAMES = ("cat", "dog", "crane, machine", "dog, cat")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return build()


@pytest.fixture(scope="module")
def model(net: nn.Module) -> camcli.Model:
    return camcli.load_model(net, input_size=64, class_names=NAMES)


def explained(model: camcli.Model, **settings: Any) -> list[tuple[str, int]]:
    (result,) = camcli.explain(model, photographs()[0], **settings)
    return [(key, one.target.index) for key, one in result.maps.items() if one.target is not None]


@pytest.mark.parametrize("target", [2, np.int64(2), torch.tensor(2), np.array(2), [2], np.array([2]), "crane, machine"])
def test_a_target_is_an_index_or_a_name(model: camcli.Model, target: Any) -> None:
    assert explained(model, target=target) == [("gradcam", 2)]


@pytest.mark.parametrize(
    ("target", "indices"),
    [
        ([0, "dog"], [0, 1]), ("cat,dog", [0, 1]), (["crane, machine", np.int32(1)], [2, 1]), (["dog, cat"], [3]),
        ("dog, cat", [3]), (["dog", "cat"], [1, 0]), (torch.tensor([3, 1]), [3, 1]), ('"dog, cat",cat', [3, 0]),
    ],
)  # fmt: skip
def test_a_list_gives_every_image_a_map_of_each(model: camcli.Model, target: Any, indices: list[int]) -> None:
    assert [index for _, index in explained(model, target=target)] == indices


def test_a_list_of_names_is_not_misread_in_a_run_either() -> None:
    from camcli.pipeline.targets import parse_target

    config = camcli.RunConfig(target=["crane, machine", 1, 'a "b", c'])  # type: ignore[arg-type]
    names = camcli.load_model(build(), input_size=64, class_names=["x", "y", "crane, machine", 'a "b", c']).class_names
    assert [spec.value for spec in parse_target(config.target or "", names, 4)] == [2, 1, 3]


def test_targets_has_one_for_each_image(model: camcli.Model) -> None:
    images = [photographs()[0]] * 3
    results = camcli.explain(model, images, targets=torch.tensor([3, 0, 1]), batch_size=2)
    assert [r.maps["gradcam"].target.index for r in results] == [3, 0, 1]  # type: ignore[union-attr]
    (alone,) = camcli.explain(model, images[0], target=0, batch_size=2)
    assert np.array_equal(results[1].maps["gradcam"].native, alone.maps["gradcam"].native)
    for wrong in ([1, 2], [1, 2, 3, 0]):
        with pytest.raises(TargetError, match="one target for each image"):
            camcli.explain(model, images, targets=wrong)
    with pytest.raises(TypeError, match="give one of them"):
        camcli.explain(model, images, targets=[1, 2, 3], target=2)


def test_a_layer_is_a_path_or_the_module_itself(net: nn.Module) -> None:
    features: Any = net.features
    model = camcli.load_model(net, input_size=64)
    for layer in (features[5], [features[5]], "features.5", "features[5]"):
        (result,) = camcli.explain(model, photographs()[0], layer=layer)
        assert result.maps["gradcam"].layer == "features.5"
    with pytest.raises(LayerError, match="no part of the model"):
        camcli.explain(model, photographs()[0], layer=nn.ReLU())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 1.5}, "target: float is not accepted. Give a class index"),
        ({"target": None}, "target: NoneType"),
        ({"target": True}, "target: bool"),
        ({"target": [0, 2.0]}, "target: float"),
        ({"targets": 3}, "one target for each image"),
        ({"method": 3}, "method: int is not accepted. Give one or several method names"),
        ({"layer": 3}, "layer: int is not accepted. Give one or several paths or modules"),
        ({"batch_size": "many"}, "batch_size='many': give a whole number"),
        ({"target_layers": ["layer4"]}, "no setting 'target_layers'. Did you mean layer?"),
        ({"output_dir": "x"}, "no setting 'output_dir'"),
        ({"mean": "0.5"}, "mean='0.5': give a number"),
        ({"std": [0.5, None, 1]}, "std=.*: give a number"),
        ({"input_size": (3, 64, 64)}, r"input_size=\(3, 64, 64\): give a whole number, or \(height, width\)"),
        ({"class_names": 3}, "class_names: int .* Give a sequence of strings"),
        ({"class_names": [1, 2, 3, 4]}, "class_names: list .* Give a sequence of strings"),
    ],
)
def test_wrong_types_are_refused_with_what_is_accepted(net: nn.Module, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        camcli.explain(net, photographs()[0], **{"input_size": 64, **settings})


@pytest.mark.parametrize("model", ["resnet50", 3, None, build])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match=r"Give a torch.nn.Module, or what camcli.load_model returns"):
        camcli.explain(model, photographs()[0])
    if model != "resnet50":
        with pytest.raises(TypeError, match=r"model: .* is not accepted"):
            camcli.load_model(model)


def test_wrong_values_are_refused(net: nn.Module) -> None:
    for settings in ({"target": 4}, {"target": "bird"}, {"target": []}, {"batch_size": 0}, {"score": "loss"}):
        with pytest.raises(UsageError):
            camcli.explain(net, photographs()[0], input_size=64, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"seed": "a"}, ConfigError, "--seed a: must be a whole number"),
        ({"seed": 1.5}, ConfigError, "must be a whole number"),
        ({"aug_smooth": "no"}, ConfigError, "must be true or false"),
        ({"output_key": 3.5}, TypeError, "output_key=3.5"),
        ({"mean": {}}, TypeError, "give a number"),
        ({"target": b"1"}, TypeError, "target: bytes is not accepted"),
    ],
)
def test_settings_of_other_types_are_named(net: nn.Module, settings: dict[str, Any], kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        camcli.explain(net, np.zeros((64, 64, 3), np.uint8), **settings)
