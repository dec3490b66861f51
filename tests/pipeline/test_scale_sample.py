"""Fixed and sampled limits of the heatmaps' scale."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Cam, artefacts, index_of, items


def test_fixed_and_sampled_scales(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    assert tiny(photos, "--output-dir", tmp_path / "s", "--scale", "sample:3", "--save", "gray").code == 0
    index = index_of(tmp_path / "s")
    low, high = index["config"]["scale_limits"]["gradcam"]
    assert 0 <= low < high
    before = artefacts(tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "gray")
    assert tiny(photos, "--output-dir", tmp_path / "s", "--scale", "sample:3", "--save", "gray").code == 0
    assert artefacts(tmp_path / "s") == before  # the recorded limits are used again
    fixed = ("--scale", f"{low}:{high}")
    assert tiny(photos, "--output-dir", tmp_path / "f", *fixed, "--save", "gray").code == 0
    assert artefacts(tmp_path / "f") == before


def test_images_that_cannot_be_explained_are_no_part_of_a_sample(tiny: Cam, tmp_path: Path, photos: Path) -> None:
    sampled = ("--scale", "sample:2", "--save", "none", "--output-dir")
    assert tiny(photos, *sampled, tmp_path / "good").code == 0
    (photos / "0.jpg").write_text("first, and no image")
    assert tiny(photos, *sampled, tmp_path / "bad").code == 3
    good, bad = (index_of(tmp_path / name)["config"]["scale_limits"] for name in ("good", "bad"))
    assert good == bad
    assert tiny(photos / "0.jpg", *sampled, tmp_path / "none").code == 3
    assert items(tmp_path / "none")[0]["error"]["kind"] == "not-an-image"
