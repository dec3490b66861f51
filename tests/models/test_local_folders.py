"""``hf-hub:./folder``: local folders that load, and everything about them that is refused with its cause."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.models._hub import save_for_hf

from camcli.errors import ModelError
from camcli.models import load_model

NAMES = ["cat", "dog", "cup"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved") / "net"
    net = timm.create_model("resnet10t", num_classes=3)
    save_for_hf(net, folder, model_config={"label_names": NAMES}, safe_serialization=True)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(original, tmp_path / "net"))


@pytest.mark.parametrize("name", ["./net", "net", "{absolute}"])
def test_a_folder_in_the_layout_of_timm(folder: Path, name: str) -> None:
    model = load_model(f"hf-hub:{name.format(absolute=folder)}")
    assert model.class_names is not None
    assert list(model.class_names.names) == NAMES
    own = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    x = torch.ones(1, 3, 64, 64)
    assert torch.equal(model.module(x), own(x))


def test_a_folder_of_the_hubs_cache(folder: Path) -> None:
    cache = folder.with_name("models--org--net")
    shutil.move(folder, cache / "snapshots" / "abc")
    (cache / "snapshots" / "older").mkdir()
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc\n")
    assert load_model("hf-hub:./models--org--net").num_classes == 3


def _change(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config[key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _more_classes(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_classes": 3', '"num_classes": 7'))


def _transformers(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "vit", "architectures": ["ViTForImageClassification"]}')


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text('{"architecture":'), "config.json is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "holds a list"),
        (lambda folder: (folder / "config.json").write_text("{}"), "names no timm architecture"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "a text file, not weights"),
        (lambda folder: _cut(folder / "model.safetensors"), "cut off or damaged"),
        (
            lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
            "a Git LFS pointer",
        ),
        (_change("architecture", "resnet9999"), "resnet9999"),
        (_change("architecture", "resnet18"), "cannot be loaded"),
        (_more_classes, r"Error\(s\) in loading state_dict .* size mismatch"),
        (_change("pretrained_cfg", {"input_size": "big"}), "configuration cannot be used"),
        (_change("pretrained_cfg", 3), "not an object"),
        (_transformers, r"of the transformers library \(ViTForImageClassification\)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=words) as refusal:
        load_model("hf-hub:./net")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./missing", "no such folder"), ("", "hf-hub:org/name"), ("a/b/c", "Repo id"), ("a b/c", "Repo id"),
        ("net", "is a file"), ("a--b/c..d", "Cannot have"), ("name", "hf-hub:org/name"), ("org/name@x", "Repo id"),
    ],
)  # fmt: skip
def test_malformed_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").write_text("")
    with pytest.raises(ModelError, match=words):
        load_model(f"hf-hub:{name}")


def test_an_organisation_is_not_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    shutil.copytree(folder, folder.parent / "org" / "net")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"the folder here is hf-hub:\./org/net"):
        load_model("hf-hub:org/net")


def test_whatever_a_library_raises_is_an_error_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    class LibraryError(Exception):
        __module__ = "thelibrary"

    def fail(*_: object, **__: object) -> None:
        raise LibraryError("bad bytes")

    monkeypatch.setattr("camcli.models.load.open_timm", fail)
    with pytest.raises(ModelError, match=r"cannot be loaded \(LibraryError: bad bytes"):
        load_model("timm:resnet10t")


def test_a_folder_or_a_file_in_place_of_a_name(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"give hf-hub:\./net"):
        load_model("net")
    (folder.parent / "weights.pth").write_text("x")
    with pytest.raises(ModelError, match=r"--checkpoint weights\.pth, with --model"):
        load_model("weights.pth")
