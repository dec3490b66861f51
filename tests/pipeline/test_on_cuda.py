"""Everything on devices that are made up (:mod:`tests.fake_cuda`): what they give is what the CPU gives.

A tensor that is left behind on the other side fails here as it does on a real device, and so do 64-bit floats on MPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

import camcli
from camcli.config.settings import RunConfig
from camcli.evaluation import EvalOptions, evaluate
from camcli.evaluation.entries import MethodEntry
from camcli.evaluation.mosaics import Candidates, measure_mosaics
from camcli.methods import METHODS
from camcli.metrics import METRICS
from camcli.metrics.baselines import BASELINES
from camcli.pipeline.setup import prepare
from camcli.pipeline.stream import run
from tests.benchmarks.synchronisations import CASES, per_batch
from tests.conftest import items, photographs
from tests.fake_cuda import fake_cuda, fake_mps
from tests.tiny import build

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one: pytest tests/gpu")

TOLERANCE = 1e-5  # of the largest value
MAGNIFIED = {"opticam": 1e-3, "groupcam": 1e-4}  # the rounding of other batches, by steps of a search and by thresholds
ATTENTION = ("rollout", "chefer", "legrad")
UNFIT = {"cnn": ATTENTION, "vit": ("cam", "refinecam", "guidedbackprop", "guidedgradcam")}
CASES_OF_METHODS = [(network, method) for network in UNFIT for method in METHODS if method not in UNFIT[network]]
FEWER = ["rise.masks=16", "opticam.steps=3", "sscam.samples=2", "iscam.samples=2", "groupcam.groups=4"]

SYNCHRONISATIONS = 1
"""Of a batch, whatever is computed and drawn. Another one costs time on every batch."""
OF_EACH_IMAGE = {"scorecam": 1}
"""In addition: how many channels are not constant decides how many passes are run."""


@contextmanager
def on(device: str) -> Iterator[None]:
    """The device, with the plain formula of attention on both."""
    with sdpa_kernel(SDPBackend.MATH), {"cpu": nullcontext, "cuda": fake_cuda, "mps": fake_mps}[device]():
        yield


def vit() -> torch.nn.Module:
    torch.manual_seed(0)
    net: torch.nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=32, num_heads=2, num_classes=4
    )
    return net.eval()


@cache
def maps(network: str, device: str) -> dict[str, np.ndarray]:
    """(images, h, w) by method."""
    methods = [method for n, method in CASES_OF_METHODS if n == network]
    options = [option for option in FEWER if option.partition(".")[0] in methods]
    net, layer = (build().eval(), "features") if network == "cnn" else (vit(), "blocks.0")
    with on(device):
        results = camcli.explain(
            net, photographs()[:2], method=methods, layer=layer, target=["predicted", 1], option=options,
            precision="fp32", input_size=64, device=device,
        )  # fmt: skip
    return {key: np.stack([result.maps[key].native for result in results]) for key in results[0].maps}


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize(("network", "method"), CASES_OF_METHODS)
def test_maps_are_those_of_the_cpu(network: str, method: str, device: str) -> None:
    here, there = maps(network, "cpu"), maps(network, device)
    keys = [key for key in here if key.split("/")[0] == method]
    assert keys
    for key in keys:
        assert np.abs(here[key]).max() > 0
        allowed = MAGNIFIED.get(method, TOLERANCE) * np.abs(here[key]).max()
        assert np.abs(there[key] - here[key]).max() <= allowed, key


def test_every_method_is_covered() -> None:
    assert {method for _, method in CASES_OF_METHODS} == set(METHODS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small photographs of several sizes, and a manifest with boxes."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for number, path in enumerate(photographs()[:6]):
        picture = cv2.resize(cv2.imread(str(path)), (96 + 10 * number, 80))
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        rows.append(f'{{"image": "{number}.png", "box": [20, 10, 70, 60]}}\n')
    (folder / "objects.jsonl").write_text("".join(rows), encoding="utf-8")
    return folder


def config(device: str, **settings: Any) -> RunConfig:
    own: dict[str, Any] = {
        "model": "factory:tests.tiny:build", "input_size": "64", "batch_size": "4", "precision": "fp32", "workers": "2",
        "use_cuda": device == "cuda", "device": device, **settings,
    }  # fmt: skip
    return RunConfig(**own)


@pytest.mark.parametrize("there", ["cuda", "mps"])
def test_metrics_are_those_of_the_cpu(photos: Path, there: str) -> None:
    found = {}
    for device in ("cpu", there):
        with on(device):
            settings = config(
                device, image_path=[str(photos / "objects.jsonl")], save=["none"], method=["gradcam"], limit=2,
                batch_size="2",
            )  # fmt: skip
            options = EvalOptions(metrics=("all",), steps=3, grid_probability=0.0, baselines=False)
            found[device] = evaluate(settings, options)
    figures = found["cpu"].figures["gradcam"]
    assert figures.keys() == METRICS.keys() - {"gridpg"}  # of which two images make no mosaic
    for key, figure in figures.items():
        assert figure.value is not None, key
        assert found[there].figures["gradcam"][key].value == pytest.approx(figure.value, rel=1e-5, abs=1e-6), key


@pytest.mark.parametrize("there", ["cuda", "mps"])
def test_mosaics_are_those_of_the_cpu(photos: Path, there: str) -> None:
    shares = {}
    for device in ("cpu", there):
        with on(device):
            setup = prepare(config(device, image_path=[str(photos)], save=["none"], method=["gradcam"]))
            picture = Image.open(photos / "0.png").convert("RGB")
            pixels = [np.roll(setup.model.preprocessing(picture).pixels, 9 * i, 0) for i in range(4)]
            rows = [MethodEntry("gradcam", setup.layers[0].path, False, "gradcam")]
            rows += [MethodEntry(key, None, True, key) for key in BASELINES]
            with setup.model.prepared():
                shares[device] = measure_mosaics(setup, rows, Candidates(2, 0.0, pixels, [0, 1, 2, 3])).values
    assert shares["cpu"]["gradcam"].size
    for name, values in shares["cpu"].items():
        np.testing.assert_allclose(shares[there][name], values, rtol=1e-5)


@pytest.mark.parametrize("accelerator", ["cuda", "mps"])
def test_runs_are_those_of_the_cpu(photos: Path, tmp_path: Path, accelerator: str) -> None:
    """Sent ahead, explained, drawn on the device and written; the last batch is padded."""
    rows = {}
    for device in ("cpu", accelerator):
        settings = config(
            device, image_path=[str(photos)], output_dir=str(tmp_path / device), method=["gradcam", "scorecam"],
            save=["overlay", "heatmap", "gray", "raw"], target="top:2", image_format="png",
        )  # fmt: skip
        with on(device):
            assert run(settings).counts["ok"] == 6
        rows[device] = items(tmp_path / device)
    for here, there in zip(rows["cpu"], rows[accelerator], strict=True):
        assert there["notes"] == here["notes"] == []
        assert [p["index"] for p in there["predictions"]] == [p["index"] for p in here["predictions"]]
        for one, other in zip(here["maps"], there["maps"], strict=True):
            raw, on_device = (
                np.load(tmp_path / d / m["files"]["raw"]) for d, m in (("cpu", one), (accelerator, other))
            )
            assert np.abs(raw - on_device).max() <= TOLERANCE * np.abs(raw).max()
            for kind, steps in (("gray", 1), ("heatmap", 8), ("overlay", 8)):
                here_drawn, there_drawn = (
                    cv2.imread(str(tmp_path / d / m["files"][kind])).astype(int)
                    for d, m in (("cpu", one), (accelerator, other))
                )
                assert np.abs(here_drawn - there_drawn).max() <= steps


def test_the_batch_size_is_found_on_the_device(photos: Path, tmp_path: Path) -> None:
    settings = config("cuda", image_path=[str(photos)], output_dir=str(tmp_path / "out"), batch_size="auto")
    with on("cuda"):
        assert run(settings).counts["ok"] == 6


@pytest.mark.parametrize(("case", "pictures"), [(case, False) for case in CASES] + [("five gradient methods", True)])
def test_no_synchronisation_is_added_to_a_batch(case: str, pictures: bool, tmp_path: Path) -> None:
    counts = per_batch(CASES[case], pictures, tmp_path, "factory:tests.tiny:build", 64, 4)
    assert counts.synchronisations == SYNCHRONISATIONS + 4 * OF_EACH_IMAGE.get(case, 0), counts.places
