"""A map of a class that the model rules out is as bright as any other: the row, the panel and the console say so."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from tests.conftest import Cam, items


class Rules(nn.Module):
    """Of three classes, the first for red images, the second for green ones; the third never: p < 0.0001."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 4, stride=4)
        nn.init.eye_(self.features.weight[:, :, 1, 1])
        nn.init.constant_(self.features.bias, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.features(x).mean((2, 3)) * 0.1
        return logits * logits.new_tensor([20.0, 20.0, 2.0]) + logits.new_tensor([0.0, 0.0, -12.0])


def build() -> nn.Module:
    return Rules()


MODEL = ("--model", f"factory:{__name__}:build", "--input-size", "32", "--layer", "features", "--layout", "nchw")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("red", "green", "blue")):
        pixels = np.random.default_rng(number).integers(0, 60, (48, 48, 3)).astype(np.uint8)
        pixels[8:24, 8:24, number] = 250
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


def run(cam: Cam, images: Path, *flags: str) -> tuple[str, list[dict[str, Any]]]:
    out = images.parent / "out"
    flags = (*flags, "--save", "panel", "--image-format", "png", "--layer", "features", "--overwrite")
    done = cam("run", images, "--output-dir", out, *MODEL, *flags)
    assert done.code == 0, done.err
    return done.out, items(out)


def test_a_target_that_is_ruled_out_is_marked_and_said_once(cam: Cam, images: Path) -> None:
    said, rows = run(cam, images, "--target", "2")
    marked = [row["image"] for row in rows if row["maps"][0].get("improbable")]
    expected = [
        r["image"] for r in rows if r["maps"][0]["status"] == "ok" and r["maps"][0]["target"]["probability"] < 0.01
    ]
    assert marked == expected
    assert len(marked) == 3
    line = next(line for line in said.splitlines() if "drawn as bright as any other" in line)
    assert line.startswith(f"{len(marked)} maps explain classes with a probability below 1 % ({marked[0]}: class 2, ")
    assert "--scale LO:HI, in raw map values, draws all maps on one scale" in line


def test_its_panel_has_a_caption_and_others_have_none(cam: Cam, images: Path) -> None:
    _, rows = run(cam, images, "--target", "predicted,2")
    heights: dict[bool, set[int]] = {True: set(), False: set()}
    for row in rows:
        for one in row["maps"]:
            panel = cv2.imread(str(images.parent / "out" / one["files"]["panel"]))
            assert panel is not None
            heights[bool(one.get("improbable"))].add(panel.shape[0])
    assert len(heights[False]) == 1, "of what fits below no other line"
    assert min(heights[True]) > max(heights[False])


def test_ordinary_predictions_and_fixed_limits_are_not_warned_about(cam: Cam, images: Path) -> None:
    said, rows = run(cam, images)
    assert not any("improbable" in one for row in rows for one in row["maps"])
    assert "drawn as bright" not in said
    said, rows = run(cam, images, "--target", "2", "--scale", "0:1")
    assert any("improbable" in one for row in rows for one in row["maps"])
    assert "drawn as bright" not in said
    panels = [cv2.imread(str(images.parent / "out" / row["maps"][0]["files"]["panel"])) for row in rows]
    heights = {panel.shape[0] for panel in panels if panel is not None}
    _, plain = run(cam, images, "--target", "predicted", "--scale", "0:1")
    panels = [cv2.imread(str(images.parent / "out" / row["maps"][0]["files"]["panel"])) for row in plain]
    assert heights == {panel.shape[0] for panel in panels if panel is not None}


def test_the_scale_of_the_other_maps_is_offered(cam: Cam, images: Path) -> None:
    said, rows = run(cam, images, "--target", "predicted,2")
    highest = max(one["raw"]["max"] for row in rows for one in row["maps"] if not one.get("improbable"))
    assert f"--scale 0:{highest:.2g} draws all maps on one scale" in said


def test_evidence_against_a_class_is_no_wonder_where_it_is_ruled_out(cam: Cam, images: Path) -> None:
    said, rows = run(cam, images, "--target", "2", "--score", "neg-logit")
    assert not any("improbable" in one for row in rows for one in row["maps"])
    assert "drawn as bright" not in said
