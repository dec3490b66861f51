"""Every method on three kinds of network in IEEE float32: what the device gives is what the CPU gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import camcli
from camcli.methods import METHODS
from tests.conftest import photographs
from tests.gpu.networks import SIZE

TOLERANCE = 1e-3  # of the range of the map
IMAGES = 2
# Each method as it is, but with fewer trials, which the CPU has to run as well.
FEWER = [
    "sscam.samples=2", "sscam.max_channels=32", "iscam.samples=3", "iscam.max_channels=32", "scorecam.max_channels=64",
    "rise.masks=64", "opticam.steps=5",
]  # fmt: skip
ATTENTION = ("rollout", "chefer", "legrad")
GUIDED = ("guidedbackprop", "guidedgradcam")
UNFIT = {
    "resnet": ATTENTION,
    # A norm follows, to which no token's length matters: the sum of gradient times activation is zero but for rounding.
    "vit": (*GUIDED, "cam", "refinecam", "hirescam"),
    # The mean of normalised channels is equal everywhere.
    "swin": (*GUIDED, *ATTENTION, "refinecam", "lafam", "opticam"),
}
LAYER = {"resnet": "layer4", "vit": "blocks.4", "swin": "norm"}
CASES = [(network, method) for network in UNFIT for method in METHODS if method not in UNFIT[network]]


def explain(network: str, methods: list[str], device: str) -> dict[str, np.ndarray]:
    """(images, h, w) by method."""
    model = camcli.load_model(f"factory:tests.gpu.networks:{network}", input_size=(SIZE, SIZE), device=device)
    options = [option for option in FEWER if option.partition(".")[0] in methods]
    results = camcli.explain(
        model, photographs()[:IMAGES], method=methods, layer=LAYER[network], target=3, option=options, precision="fp32"
    )
    return {key: np.stack([result.maps[key].native for result in results]) for key in results[0].maps}


@cache
def maps(network: str, device: str) -> dict[str, np.ndarray | Exception]:
    """All at once, which is quicker; one by one where that fails, so that each has its own error."""
    methods = [m for n, m in CASES if n == network]
    try:
        return dict(explain(network, methods, device))
    except Exception:
        found: dict[str, np.ndarray | Exception] = {}
        for method in methods:
            try:
                found |= explain(network, [method], device)
            except Exception as error:
                found[method] = error
        return found


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    logging.getLogger("camcli").setLevel(logging.ERROR)
    yield
    logging.getLogger("camcli").setLevel(logging.NOTSET)


@pytest.mark.parametrize(("network", "method"), CASES)
def test_maps_are_those_of_the_cpu(network: str, method: str) -> None:
    expected, found = maps(network, "cpu")[method], maps(network, "cuda")[method]
    for value in (expected, found):
        if isinstance(value, Exception):
            raise value
    assert isinstance(expected, np.ndarray)
    assert isinstance(found, np.ndarray)
    extent = np.ptp(expected, axis=(1, 2))
    assert (extent > 0).all(), "the map shows nothing, so that the comparison shows nothing"
    off = np.abs(found - expected).max((1, 2)) / extent
    assert off.max() <= TOLERANCE, f"off by {off.max():.2g} of its range"


def test_a_module_stays_on_its_device() -> None:
    from tests.tiny import build

    net = build().cuda().eval()
    stated: dict[str, Any] = {"input_size": 64, "target": 1}
    there = camcli.explain(net, photographs()[0], precision="fp32", **stated)[0].maps["gradcam"].native
    assert {p.device.type for p in net.parameters()} == {"cuda"}
    here = camcli.explain(net, photographs()[0], device="cpu", **stated)[0].maps["gradcam"].native
    assert {p.device.type for p in net.parameters()} == {"cuda"}
    assert np.abs(there - here).max() <= TOLERANCE * np.abs(here).max()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recurrent_networks(tmp_path: Path, precision: str) -> None:
    maps = {}
    for device, own in (("cpu", "fp32"), ("cuda", precision)):
        model = camcli.load_model(
            "factory:tests.gpu.networks:RecurrentHead", input_size=(64, 64), device=torch.device(device)
        )
        [result] = camcli.explain(
            model, photographs()[0], method="gradcam,scorecam,ablationcam", target=1, layer="features", precision=own
        )
        maps[device] = {key: one.native for key, one in result.maps.items()}
    for key, expected in maps["cpu"].items():
        off = np.abs(maps["cuda"][key] - expected).max() / np.ptp(expected)
        assert off <= (TOLERANCE if precision == "fp32" else 0.1), key
