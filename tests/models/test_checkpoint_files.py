"""Files given as checkpoints: read without running anything in them, or refused with the cause and the way out."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from camcli.errors import CheckpointError
from camcli.models.checkpoint_file import find_globals, read_checkpoint

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}


class Payload:
    """A pickle that creates a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch '{self.mark}'",)


def refused(path: Path, match: str, **options: bool) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path, **options)
    assert str(path) in str(caught.value)


NAMES = ("w.pt", "w.pth", "w.ckpt", "w.bin", "weights")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("w.safetensors", "safetensors"), *((name, kind) for name in NAMES for kind in ("zip", "legacy", "safetensors"))],
)
def test_formats_are_told_by_their_content(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    content = read_checkpoint(path)
    assert content.keys() == STATE.keys()
    assert all(torch.equal(content[k], STATE[k]) for k in STATE)


def test_what_training_scripts_put_beside_the_weights_is_no_reason_to_refuse(tmp_path: Path) -> None:
    args = argparse.Namespace(model="resnet18", lr=0.1, output=PosixPath("/tmp"))
    torch.save({"model": STATE, "args": args, "epoch": 3}, tmp_path / "c.pth")
    assert read_checkpoint(tmp_path / "c.pth")["args"].lr == 0.1


@pytest.mark.parametrize("legacy", [False, True])
def test_a_payload_is_not_run_but_named(tmp_path: Path, legacy: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "c.pth"
    torch.save({"model": STATE, "x": Payload(mark)}, path, _use_new_zipfile_serialization=not legacy)
    refused(path, r"nothing of it was run.*(posix|os|nt)\.system.*--trust-checkpoint")
    assert not mark.exists()
    read_checkpoint(path, trust=True)
    assert mark.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_bare_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    mark, path = tmp_path / "mark", tmp_path / "c.pkl"
    path.write_bytes(pickle.dumps(Payload(mark), protocol=protocol))
    refused(path, r"(posix|os|nt)\.system")
    assert not mark.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_module_is_refused_with_the_way_out(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "c.pth"
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), path, _use_new_zipfile_serialization=not legacy)
    refused(path, r"whole pickled module.*torch\.nn\.modules\.linear\.Linear.*torch\.save\(model\.state_dict\(\)")
    assert isinstance(read_checkpoint(path, trust=True), nn.Sequential)
    assert "torch.nn.modules.activation.ReLU" in find_globals(path)


def test_a_class_that_is_not_installed_even_when_trusted(tmp_path: Path) -> None:
    path = tmp_path / "c.pkl"
    path.write_bytes(b"\x80\x02cno_such_package.thing\nNet\n)\x81.")
    refused(path, "no_such_package.*torch.save", trust=True)


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    refused(path, r"TorchScript.*torch\.jit\.load\(FILE\)\.state_dict\(\)")
    refused(path, "TorchScript", trust=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page.*Download it again"),
        (b"\n\n <HTML>\n<head>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer.*git lfs pull"),
        (b'{"error": "Entry not found"}', "text file.*Entry not found"),
        (b"Not found", "text file, not weights .*'Not found'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (bytes(100), "no checkpoint format is recognised"),
        (b"\x80\x02", "cut off or damaged.*2 bytes"),
        (b"PK\x03\x04" + bytes(60), "cut off or damaged"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_something_else(tmp_path: Path, content: bytes, match: str, suffix: str) -> None:
    path = tmp_path / f"c{suffix}"
    path.write_bytes(content)
    if suffix == ".safetensors" and content.startswith((b"\x80", b"PK", bytes(100))):
        match = "no checkpoint format is recognised"
    refused(path, match)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_cut_off_files(tmp_path: Path, share: float, kind: str) -> None:
    path = tmp_path / ("c.safetensors" if kind == "safetensors" else "c.pth")
    big = {"w": torch.randn(64, 64), **STATE}
    if kind == "safetensors":
        save_file(big, path)
    else:
        torch.save(big, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, "cut off or damaged.*bytes; copy or download it again")


def test_other_pickles_and_exported_programs_are_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "c.pkl"
    path.write_bytes(pickle.dumps({"w": np.zeros(3)}))
    for trust in (False, True):
        refused(path, r"torch\.save\(model\.state_dict\(\)", trust=trust)
    refused(path, "a pickle that torch.save has not written", trust=True)
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "c.pt2")
    refused(tmp_path / "c.pt2", "an exported program")


def test_archives_of_other_things(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", w=np.zeros(3))
    refused(tmp_path / "c.npz", "NumPy archive")
    import zipfile

    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("weights/best.pt", "x")
    refused(tmp_path / "c.zip", "zip archive without PyTorch data")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "cannot be read")
    refused(tmp_path, "a folder")
