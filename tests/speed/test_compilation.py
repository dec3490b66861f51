"""`--compile` changes nothing but the speed, and what cannot be compiled runs without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camcli.capture import Forward, freeze
from camcli.speed import compile_prefix
from tests.conftest import index_of, photographs

TINY = ("--model", "factory:tests.tiny:build", "--input-size", "64", "--device", "cpu", "--batch-size", "4")


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])


def maps_of(run_dir: Path) -> list[Any]:
    rows = index_of(run_dir)["items"]
    return [np.load(run_dir / found["files"]["raw"]) for row in rows for found in row["maps"]]


def test_a_compiled_run(cam: Callable[..., Any], tmp_path: Path, samples: Path) -> None:
    ask = ("run", "--image-path", samples, *TINY, "--method", "gradcam,layercam,ablationcam", "--save", "raw")
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    assert cam(*ask, "--output-dir", plain).code == 0
    result = cam(*ask, "--output-dir", compiled, "--compile")
    assert result.code == 0, result.err
    assert "compiling what comes before the target layer" in result.err
    assert "what comes before features.8 was compiled in" in result.out
    assert index_of(compiled)["config"]["compile"] is True
    assert index_of(compiled)["fingerprint"] != index_of(plain)["fingerprint"]
    before, after = maps_of(plain), maps_of(compiled)
    assert len(before) == len(after) == 3 * len(photographs())
    for own, found in zip(before, after, strict=True):
        np.testing.assert_allclose(found, own, atol=1e-4 * np.abs(own).max())
    again = cam(*ask, "--output-dir", compiled)
    assert again.code == 2
    assert "config.compile: true → false" in again.err


class Deciding(nn.Module):
    """Branches on the values of its tensors: no graph can hold that."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if float(x.mean()) > 0:
            x = -x
        return self.head(self.layer(x).mean((2, 3)))


class Noting(nn.Module):
    """Keeps something of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = None
        self._stem(x)
        assert self.last is not None
        return self.head(self.layer(self.last).mean((2, 3)))

    def _stem(self, x: Tensor) -> None:
        self.last = self.stem(x) * 2


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Deciding, "what comes before layer does not compile here"),
        (lambda: torch.compile(Noting(), backend="eager"), "compiled, scripted or spread over devices already"),
        (lambda: nn.DataParallel(Noting()), "compiled, scripted or spread over devices already"),
    ],
)
def test_what_does_not_compile_runs_without(make: Callable[[], nn.Module], reason: str) -> None:
    torch.manual_seed(0)
    net = make().eval()
    forward = Forward(net, lambda output: output)
    with freeze(net), torch.no_grad():
        result = compile_prefix(forward, "layer", torch.randn(2, 3, 8, 8))
    assert result.forward is forward
    assert not result.works
    assert reason in result.note
    assert result.note.endswith("; the run goes on without")


def test_wrong_code_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler may be wrong; what it makes is tried before it is used."""
    torch.manual_seed(0)
    net = Noting().eval()
    forward = Forward(net, lambda output: output)
    monkeypatch.setattr(torch, "compile", lambda graph, dynamic: lambda x: [v * 1.01 for v in graph(x)])
    with freeze(net), torch.no_grad():
        result = compile_prefix(forward, "layer", torch.randn(2, 3, 8, 8))
    assert not result.works
    assert "compiled, the model gives other outputs (at layer it is off by 0.01" in result.note
    assert type(net.last) is Tensor  # and not the tensor without values that the graph was found with
