"""Names of models: which library they mean, what is said of unknown ones, and what happens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import timm
import torch
import torchvision
from PIL import Image

from camcli.errors import ConfigError, DeviceError, ModelError
from camcli.images import to_input
from camcli.models import known_models, load_model


@pytest.mark.parametrize(
    ("name", "source", "note"),
    [
        ("resnet18", "torchvision", "resnet18 is torchvision's; timm has one too (timm:resnet18)"),
        ("squeezenet1_1", "torchvision", "squeezenet1_1 is torchvision's"),
        ("resnet10t", "timm", "resnet10t is timm's"),
        ("resnet10t.c3_in1k", "timm", "resnet10t.c3_in1k is timm's"),
        ("torchvision:resnet18", "torchvision", None),
        ("timm:resnet18", "timm", None),
    ],
)
def test_whose_model_a_name_means(name: str, source: str, note: str | None) -> None:
    model = load_model(name, weights="random")
    assert (model.name, model.source) == (name.rpartition(":")[2], source)
    assert model.notes == ((note,) if note else ())
    assert type(model.module).__module__.startswith(source)
    assert not any(m.training for m in model.module.modules())
    assert not any(p.requires_grad for p in model.module.parameters())
    assert model.class_names is not None
    assert model.class_names.name(285) == "Egyptian cat"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "model resnet19: neither torchvision nor timm.*resnet1.*cam models"),
        ("torchvision:resnet5O", "model torchvision:resnet5O: unknown.*resnet50"),
        ("torchvision:fcn_resnet50", "a segmenter"),
        ("timm:vit_tinny_patch16_224", "model timm:vit_tinny_patch16_224: unknown.*vit_tiny_patch16_224"),
        ("timm:resnet18.nope", r"no tag 'nope'\. It has a1_in1k, "),
        ("tim:resnet18", "unknown source 'tim'. Did you mean timm"),
        ("hf-hub:resnet18", "hf-hub:org/name"),
        ("", "model : neither"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(name)
    assert caught.value.exit_code == 2


def test_unknown_weights() -> None:
    with pytest.raises(ModelError, match=r"unknown for resnet50. It has default, random, IMAGENET1K_V1, IMAGENET1K_V2"):
        load_model("torchvision:resnet50", weights="V3")
    with pytest.raises(ModelError, match="part of its name"):
        load_model("timm:resnet18", weights="IMAGENET1K_V1")


def test_timm_without_published_weights() -> None:
    with pytest.raises(ModelError, match="timm has no weights for it"):
        load_model("timm:botnet50ts_256")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "vit_b_16", "swin_v2_t", "googlenet"])
def test_torchvisions_own_preprocessing(name: str) -> None:
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    same_input(load_model(f"torchvision:{name}", weights="random").preprocessing, theirs)


@pytest.mark.parametrize(
    "name",
    ["resnet10t", "vit_tiny_patch16_224", "test_vit", "efficientnet_lite0", "convnext_atto", "eva02_tiny_patch14_224"],
)
def test_timms_own_preprocessing(name: str) -> None:
    model = load_model(f"timm:{name}", weights="random")
    config = timm.data.resolve_model_data_config(model.module)
    same_input(model.preprocessing, timm.data.create_transform(**config))


def same_input(ours: Any, theirs: Any) -> None:
    for array in (skimage.data.chelsea(), skimage.data.astronaut(), skimage.data.coffee()[:, 100:300]):
        image = Image.fromarray(np.ascontiguousarray(array))
        tensor = to_input(ours(image).pixels[None].copy(), ours)[0]
        assert torch.equal(tensor, theirs(image)), ours.description


def test_classes_beyond_imagenet() -> None:
    model = load_model("timm:vit_tiny_patch16_224.augreg_in21k", weights="random")
    assert model.num_classes == 21843
    assert model.class_names is not None
    assert model.class_names.find("n02123394") == model.class_names.find("Persian cat")


def test_encoders_say_what_still_works() -> None:
    model = load_model("timm:test_vit", weights="random")
    assert model.num_classes == 1000
    encoder = load_model("timm:vit_small_patch14_dinov2", weights="random")
    assert (encoder.num_classes, encoder.class_names) == (None, None)
    with pytest.raises(ModelError, match=r"vit_small_patch14_dinov2 is an encoder.*eigencam.*--checkpoint"):
        encoder.logits(torch.ones(1, 384))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision:resnet18", (96, 64)),
        ("timm:test_vit", 96),
        ("torchvision:vit_b_32", 96),
        ("timm:resnet10t", (64, 96)),
    ],
)
def test_input_size(name: str, size: int | tuple[int, int]) -> None:
    model = load_model(name, weights="random", input_size=size)
    height, width = (size, size) if isinstance(size, int) else size
    assert (model.preprocessing.height, model.preprocessing.width) == (height, width)
    assert model.logits(model.module(torch.zeros(1, 3, height, width))).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("torchvision:vit_b_32", (96, 64), "square inputs only"),
        ("torchvision:vit_b_32", 100, "indivisible by patch size"),
        ("timm:test_vit", 100, r"\(1, 3, 100, 100\) fails"),
    ],
)
def test_input_sizes_that_cannot_be(name: str, size: int | tuple[int, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name, weights="random", input_size=size)


def test_flags_change_the_preprocessing() -> None:
    model = load_model("timm:resnet10t", weights="random", mean=(0.1,), std=(0.2, 0.3, 0.4), resize="squash")
    assert model.preprocessing.mean == (0.1, 0.1, 0.1)
    assert model.preprocessing.std == (0.2, 0.3, 0.4)
    assert model.preprocessing.resize == "squash"
    with pytest.raises(ConfigError, match="--mean"):
        load_model("builtin", mean=(0.1, 0.2))


def test_class_count_without_a_checkpoint() -> None:
    model = load_model("torchvision:resnet18", weights="random", num_classes=4)
    assert (model.num_classes, model.class_names) == (4, None)
    for name in ("builtin", "torchvision:resnet18", "timm:resnet10t"):
        with pytest.raises(ModelError, match=r"--num-classes 4.*untrained"):
            load_model(name, num_classes=4)


def test_class_names_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    model = load_model("resnet18", weights="random", num_classes=2, class_names=str(tmp_path / "names.txt"))
    assert model.class_names is not None
    assert model.class_names.names == ("ant", "bee")
    with pytest.raises(ModelError, match="2 names for the 1000 classes"):
        load_model("builtin", class_names=str(tmp_path / "names.txt"))


@pytest.mark.parametrize("device", ["cuda:77", "nonsense", "meta:x"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(DeviceError, match=device):
        load_model("builtin", device=device)


def test_known_models() -> None:
    known = {model.name: model for model in known_models()}
    assert next(iter(known)) == "builtin"
    assert known["torchvision:resnet50"].weights == ("IMAGENET1K_V2", "IMAGENET1K_V1")
    assert known["timm:resnet18"].weights[0] == "a1_in1k"
    assert not known["timm:botnet50ts_256"].pretrained
    assert len([m for m in known.values() if m.source == "timm"]) == len(timm.list_models())
    assert {m.name for m in known_models("VIT_b_16")} == {"torchvision:vit_b_16"}
    assert all(m.name.startswith("timm:vit_tiny") for m in known_models("timm:vit_tiny*"))
    assert known_models("resnet1?") == [
        m for m in known.values() if m.name.rpartition(":")[2] in ("resnet18", "resnet14")
    ]
    assert known_models("no such model") == []
