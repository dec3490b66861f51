"""Checkpoints of real architectures: every place where torchvision and timm keep a classifier."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from camcli.models import Model, load_model


def test_class_names_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    names = {"ant": 0, "bee": 1, "wasp": 2}
    torch.save({"model": torchvision.models.squeezenet1_1(num_classes=3).state_dict(), "class_to_idx": names}, path)
    model = load_model("squeezenet1_1", checkpoint=str(path))
    assert model.num_classes == 3
    assert model.class_names is not None
    assert model.class_names.names == ("ant", "bee", "wasp")


def test_builtin_with_a_checkpoint(tmp_path: Path) -> None:
    reference = load_model("builtin", weights="random", num_classes=4, seed=9)
    path = tmp_path / "own.safetensors"
    save_file(reference.module.state_dict(), path)
    model = load_model("builtin", checkpoint=str(path))
    assert (model.num_classes, model.class_names, model.weights) == (4, None, "checkpoint own.safetensors")
    assert model.weights_sha256 == reference.weights_sha256


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "googlenet", "regnet_y_400mf", "densenet121"],
)
def test_heads_of_torchvision(tmp_path: Path, name: str) -> None:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    theirs = torchvision.models.get_model(name, num_classes=7, **options)
    same_after_loading(tmp_path, f"torchvision:{name}", theirs)


@pytest.mark.parametrize(
    "name",
    [  # one small model for each place where timm keeps a classifier
        "resnet10t", "efficientnet_lite0", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "levit_128s",
        "efficientformer_l1", "efficientformerv2_s0", "repvit_m0_9", "mixnet_s", "convnext_atto", "ghostnet_050",
        "fastvit_t8", "tiny_vit_5m_224", "dla46_c", "xcit_nano_12_p16_224", "convmixer_768_32",
    ],
)  # fmt: skip
def test_heads_of_timm(tmp_path: Path, name: str) -> None:
    same_after_loading(tmp_path, f"timm:{name}", timm.create_model(name, num_classes=7))


def same_after_loading(tmp_path: Path, name: str, theirs: nn.Module) -> Model:
    path = tmp_path / "head.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, path)
    model = load_model(name, checkpoint=str(path))
    assert model.num_classes == 7
    own = model.module.state_dict()
    assert all(torch.equal(own[key], value) for key, value in theirs.state_dict().items())
    return model


def test_timm_with_other_channels_prepares_that_many(tmp_path: Path) -> None:
    path = tmp_path / "grey.pth"
    torch.save(timm.create_model("resnet10t", in_chans=1, num_classes=3).state_dict(), path)
    model = load_model("timm:resnet10t", checkpoint=str(path))
    assert (model.preprocessing.channels, len(model.preprocessing.mean)) == (1, 1)
    logits = model.logits(model.module(torch.zeros(2, 1, 64, 64)))
    assert logits.shape == (2, 3)
