"""Published weights: from the caches of torchvision and of the hub, and what is said where there is no network."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from camcli.errors import ModelError
from camcli.models import hub, load_model
from camcli.models.hub import unreachable_reason

NOWHERE = "http://127.0.0.1:9"  # the discard port: refuses at once


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Empty caches and no way to a network, whether this machine has one or not."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, NOWHERE)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


def test_a_host_that_refuses_or_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert unreachable_reason(NOWHERE) is not None
    assert unreachable_reason("not an address") is not None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in str(hub._try_address(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2))


def test_a_look_up_that_takes_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(hub, "_try_address", lambda url, timeout: over.wait())
    assert unreachable_reason(NOWHERE, timeout=0) == "no answer within 0 s"
    over.set()


def test_a_host_that_answers_with_an_error_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # answers 501 to everything
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert unreachable_reason(f"http://127.0.0.1:{server.server_port}", timeout=120) is None
        thread.join()


@pytest.mark.parametrize("weights", ["default", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1", "imagenet1k_v1"])
def test_torchvision_without_a_network(offline: Path, weights: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model("torchvision:resnet18", weights=weights)
    text = str(caught.value)
    for part in ("ResNet18_Weights.IMAGENET1K_V1", "resnet18-f37072fd.pth", str(offline), "cannot be reached"):
        assert part in text
    assert "--checkpoint" in text
    assert "--weights random" in text


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:resnet18.tv_in1k", "hf-hub:timm/resnet18.tv_in1k"])
def test_hub_without_a_network(offline: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"resnet18\.\w+ is not in the Hugging Face cache.*cannot be reached.*HF_HOME"):
        load_model(name)


def test_hub_switched_off(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        load_model("timm:resnet18")


def test_torchvision_from_its_cache(offline: Path) -> None:
    enum = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    module = torchvision.models.squeezenet1_1()
    (offline / "torch" / "checkpoints").mkdir(parents=True)
    file = offline / "torch" / "checkpoints" / enum.url.rpartition("/")[2]
    file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"cannot be loaded from .*Delete that file"):
        load_model("torchvision:squeezenet1_1")
    torch.save(module.state_dict(), file)
    model = load_model("torchvision:squeezenet1_1")
    assert model.weights == "SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert torch.equal(model.module.features[0].weight, module.features[0].weight)  # type: ignore[union-attr,index]


def in_hub_cache(root: Path, repository: str, files: dict[str, Any]) -> None:
    """Lay files out as the hub's client does."""
    base = root / "hub" / ("models--" + repository.replace("/", "--"))
    snapshot = base / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0123abc")
    for name, content in files.items():
        if name.endswith(".safetensors"):
            save_file(content, snapshot / name)
        else:
            (snapshot / name).write_text(json.dumps(content))


def test_timm_from_the_hubs_cache(offline: Path) -> None:
    theirs = timm.create_model("resnet10t")
    in_hub_cache(offline, "timm/resnet10t.c3_in1k", {"model.safetensors": theirs.state_dict()})
    model = load_model("timm:resnet10t")
    assert (model.name, model.weights) == ("resnet10t.c3_in1k", "timm/resnet10t.c3_in1k")
    assert torch.equal(model.module.fc.weight, theirs.fc.weight)  # type: ignore[union-attr,arg-type]


def test_hub_model_from_the_cache(offline: Path) -> None:
    theirs = timm.create_model("resnet10t", num_classes=2)
    stated = {**theirs.pretrained_cfg, "num_classes": 2, "mean": [0.1, 0.2, 0.3], "input_size": [3, 96, 96]}
    config = {"architecture": "resnet10t", "num_classes": 2, "label_names": ["ant", "bee"], "pretrained_cfg": stated}
    in_hub_cache(offline, "me/insects", {"config.json": config, "model.safetensors": theirs.state_dict()})
    model = load_model("hf-hub:me/insects")
    assert (model.source, model.name, model.num_classes) == ("hf-hub", "me/insects", 2)
    assert model.class_names is not None
    assert model.class_names.names == ("ant", "bee")
    assert (model.preprocessing.mean, model.preprocessing.height) == ((0.1, 0.2, 0.3), 96)
    assert torch.equal(model.module.fc.weight, theirs.fc.weight)  # type: ignore[union-attr,arg-type]


def test_hub_repository_of_another_kind(offline: Path) -> None:
    in_hub_cache(offline, "me/text", {"config.json": {"model_type": "bert"}, "model.safetensors": {"w": torch.ones(1)}})
    with pytest.raises(ModelError, match=r"hf-hub:me/text: its config\.json is of the transformers library \(bert\)"):
        load_model("hf-hub:me/text")
