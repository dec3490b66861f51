"""Fault 24: maps that are not finite, zero or constant; numbers at the edge of float32."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from camcli.schemas import index_schema

from .conftest import TINY, Tiny, pictures


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = pictures(tmp_path / "photos", 3)
    Image.new("RGB", (64, 64), "orange").save(folder / "marked.png")
    return folder


@pytest.mark.parametrize("method", ["gradcam", "gradcam++,layercam,xgradcam,eigencam,hirescam"])
@pytest.mark.parametrize(
    ("model", "statuses"),
    [
        ("nan", {"nonfinite"}),
        ("infinite", {"nonfinite"}),
        ("zero", {"zero", "constant", "nonfinite"}),
        ("constant", {"constant", "zero", "nonfinite"}),
        ("huge", {"ok", "zero", "constant", "nonfinite"}),
    ],
)
def test_degenerate_maps_have_a_status_and_are_drawn_without_heat(
    model: str, statuses: set[str], method: str, cam: Tiny, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cam(
        "run", photos, "--model", f"factory:tests.faults.models:{model}", *TINY[2:], "--layer", "altered",
        "--method", method, "--save", "overlay,heatmap,gray,raw,map,panel", "--image-format", "png",
        "--csv", tmp_path / "t.csv", "--output-dir", out,
    )  # fmt: skip
    assert done.code == 0, done.err  # a map that shows nothing is no failure of the run
    text = (out / "index.json").read_text("utf-8")
    index = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    jsonschema.validate(index, index_schema())
    for line in (out / "index.jsonl").read_text("utf-8").splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    marked = index["items"][-1]
    assert marked["image"] == "marked.png"
    for entry in marked["maps"]:
        assert entry["status"] in statuses
        if entry["status"] == "ok":
            continue
        gray = np.asarray(Image.open(out / entry["files"]["gray"]))
        assert gray.max() == 0  # drawn as no heat, never stretched noise
        assert entry["attention"] == dict.fromkeys(("peak", "centroid", "entropy", "border", "box"))
        if entry["status"] == "nonfinite":
            assert entry["native"] is None
            assert entry["raw"] == {"min": None, "max": None, "mean": None}
    degenerate = sum(entry["status"] != "ok" for entry in marked["maps"])
    others = [entry["status"] for item in index["items"][:-1] for entry in item["maps"]]
    assert index["counts"]["degenerate_maps"] == degenerate + sum(status != "ok" for status in others)
    if degenerate:
        assert "show nothing (zero, constant or not finite)" in done.out
    # Its neighbours in the batch are what they are without it.
    (photos / "marked.png").unlink()
    again = cam(
        "run", photos, "--model", f"factory:tests.faults.models:{model}", *TINY[2:], "--layer", "altered",
        "--method", method, "--batch-size", 4, "--save", "raw", "--output-dir", tmp_path / "without",
    )  # fmt: skip
    assert again.code == 0
    alone = json.loads((tmp_path / "without" / "index.json").read_text("utf-8"))["items"]
    assert [[e["native"] for e in item["maps"]] for item in alone] == [
        [e["native"] for e in item["maps"]] for item in index["items"][:-1]
    ]
