"""JPEGs decoded by nvJPEG."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from camcli.images import DecodeSettings, decode, require_device_decoder
from tests.conftest import photographs
from tests.gpu.runs import explain

pytestmark = pytest.mark.real
HOST, DEVICE = DecodeSettings(), DecodeSettings(device="cuda:0")
SAVED: dict[str, dict[str, Any]] = {
    "as it is": {}, "4:4:4": {"subsampling": 0}, "4:2:2": {"subsampling": 1}, "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
}  # fmt: skip


def files(how: str) -> list[bytes]:
    paths = [path for path in photographs() if path.suffix in (".jpg", ".jpeg")]
    if not SAVED[how]:
        return [path.read_bytes() for path in paths]
    written = []
    for path in paths:
        target = io.BytesIO()
        Image.open(path).convert("RGB").save(target, "JPEG", quality=92, **SAVED[how])
        written.append(target.getvalue())
    return written


@pytest.mark.parametrize("how", SAVED)
def test_pixels_are_nearly_those_of_pillow(how: str, report: dict[str, Any]) -> None:
    require_device_decoder("cuda:0")
    differences = []
    for data in files(how):
        here, there = decode(data, HOST), decode(data, DEVICE)
        assert there.metadata == here.metadata, "the device decodes it"
        ours, theirs = (np.asarray(decoded.image).astype(np.int16) for decoded in (here, there))
        assert theirs.shape == ours.shape
        differences.append(float(np.abs(ours - theirs).mean()))
    report["saved"], report["mean_difference_of_pixels"] = how, [round(value, 3) for value in differences]
    assert max(differences) < 2


def test_threads_beside_a_busy_device_get_the_same_pixels() -> None:
    """Each image is complete when it is taken, and nobody else's memory."""
    data = files("as it is") + files("progressive")
    alone = [np.asarray(decode(one, DEVICE).image) for one in data]
    busy = torch.randn(4096, 4096, device="cuda:0")
    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(decode, one, DEVICE) for _ in range(8) for one in data]
        for _ in range(50):
            busy = (busy @ busy).tanh()
        for number, result in enumerate(results):
            assert np.array_equal(np.asarray(result.result().image), alone[number % len(data)])
    assert bool(busy.isfinite().all())


def test_two_runs_have_the_same_items(samples: Path, tmp_path: Path) -> None:
    first, second = (explain(samples, tmp_path / name, device_decode=True) for name in ("first", "second"))
    assert first.items == second.items
    assert first.artefacts == second.artefacts
    assert all(item["status"] == "ok" and not item["notes"] for item in first.items)
