"""Faults 25 and 26: checkpoints and layers that cannot be used are refused before any image, and nothing is written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.tiny import build

from .conftest import TINY, Tiny, pictures

PLANTED = "planted.txt"


class _Payload:
    """Unpickled, it writes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.path, "w")


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": _Payload(str(path.with_name(PLANTED)))}))


def _torch_pickle(path: Path) -> None:
    torch.save({"state_dict": _Payload(str(path.with_name(PLANTED)))}, path)


def _html(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")


def _lfs(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")


def _missing_keys(path: Path) -> None:
    state = build().state_dict()
    del state["features.0.weight"]
    torch.save(state, path)


def _unexpected_keys(path: Path) -> None:
    torch.save({**build().state_dict(), "decoder.weight": torch.zeros(3)}, path)


def _other_class_count(path: Path) -> None:
    state = build().state_dict()
    state["head.weight"], state["head.bias"] = torch.zeros(7, 16), torch.zeros(7)
    torch.save(state, path)


def _truncated_torch(path: Path) -> None:
    torch.save(build().state_dict(), path)
    path.write_bytes(path.read_bytes()[:3000])


def _truncated_safetensors(path: Path) -> None:
    save_file(build().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (_pickle, "x.pth", "--trust-checkpoint"),
        (_torch_pickle, "x.pt", "--trust-checkpoint"),
        (_html, "x.pth", "web page"),
        (_lfs, "x.safetensors", "git lfs pull"),
        (_missing_keys, "x.pt", "features.0.weight"),
        (_unexpected_keys, "x.pt", "decoder.weight"),
        (_other_class_count, "x.pt", "7"),
        (_truncated_torch, "x.pt", "x.pt"),
        (_truncated_safetensors, "x.safetensors", "x.safetensors"),
        (_empty, "x.pth", "empty"),
        (_folder, "x.pth", "x.pth"),
        (lambda path: None, "x.pth", "x.pth"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)
def test_a_checkpoint_that_cannot_be_used(
    make: Callable[[Path], None], name: str, said: str, cam: Tiny, tmp_path: Path
) -> None:
    photos = pictures(tmp_path / "photos", 2)
    make(tmp_path / name)
    done = cam("run", photos, *TINY, "--checkpoint", tmp_path / name, "--output-dir", tmp_path / "out")
    assert done.code == 2, done.out + done.err
    assert said in done.err
    assert done.err.startswith("cam: ")
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / PLANTED).exists()  # nothing was executed


def test_keys_of_another_model_are_listed(cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    torch.save(build().state_dict(), tmp_path / "tiny.pt")
    model = ("--model", "torchvision:resnet18", "--checkpoint", tmp_path / "tiny.pt")
    done = cam("run", photos, *model, "--output-dir", tmp_path / "out")
    assert done.code == 2
    assert "conv1.weight" in done.err
    assert "features.0.weight" in done.err
    assert len(done.err) < 3000
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "layer", "said"),
    [
        ("tests.tiny:build", "featurs", ["featurs", "features"]),
        ("tests.tiny:build", "features.99", ["features.99"]),
        ("tests.tiny:build", "features[", ["features["]),
        ("tests.tiny:build", "head", ["head", "features.8"]),
        ("tests.faults.models:unused", "spare", ["spare", "features.8"]),
        ("tests.faults.models:unconnected", "side", ["side", "features.8"]),
        ("tests.faults.models:pooled", "pool", ["pool", "features.8"]),
    ],
    ids=["unknown", "no such index", "malformed", "not spatial", "never runs", "no gradient", "one cell"],
)
def test_a_layer_that_cannot_be_used(model: str, layer: str, said: list[str], cam: Tiny, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 2)
    done = cam(
        "run", photos, "--model", f"factory:{model}", "--input-size", 64, "--layer", layer,
        "--output-dir", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 2, done.out + done.err
    assert all(words in done.err for words in said), done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
    # What the message recommends works.
    if "features.8" in said:
        again = cam(
            "run", photos, "--model", f"factory:{model}", "--input-size", 64, "--layer", "features.8",
            "--output-dir", tmp_path / "out",
        )  # fmt: skip
        assert again.code == 0, again.err
