"""Faults 6, 7 and 8: the same picture however it is stored; what is no plain RGB; more than one frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import index_of

from .conftest import Tiny, picture

_STORED = {  # EXIF orientation → how the upright picture must be turned to be stored so
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize(("extension", "how"), [("png", {}), ("tiff", {}), ("webp", {"lossless": True}), ("jpg", {})])
def test_all_eight_orientations_give_one_upright_overlay(
    extension: str, how: dict[str, Any], tiny: Tiny, tmp_path: Path
) -> None:
    photos, upright = tmp_path / "photos", picture(6, (96, 64))
    photos.mkdir()
    for orientation, turned in _STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = upright if turned is None else upright.transpose(turned)
        if extension == "jpg":  # whole blocks of 16, so that turning and compressing commute nearly
            how = {"quality": 100, "subsampling": 0}
        stored.save(photos / f"{orientation}.{extension}", exif=exif, **how)
    done = tiny(photos, "--image-format", "png", "--save", "overlay,raw", "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    items = index_of(tmp_path / "out")["items"]
    assert {(item["width"], item["height"]) for item in items} == {(96, 64)}
    overlays = [np.asarray(Image.open(tmp_path / "out" / item["maps"][0]["files"]["overlay"])) for item in items]
    for overlay in overlays[1:]:
        difference = np.abs(overlay.astype(int) - overlays[0].astype(int))
        if extension == "jpg":  # its rounding is not the same turned; a step of the colour map is up to 16
            assert (difference.mean(), difference.max()) < (1, 25)
        else:
            assert difference.max() == 0
    peaks = np.array([item["maps"][0]["attention"]["peak"] for item in items])
    assert np.abs(peaks - peaks[0]).max() == 0


def test_every_mode_is_explained_and_keeps_its_range(tiny: Tiny, tmp_path: Path) -> None:
    photos, grey = tmp_path / "photos", np.asarray(picture(7).convert("L"))
    photos.mkdir()
    Image.fromarray(grey).convert("RGB").save(photos / "a-rgb.png")
    Image.fromarray(grey).save(photos / "b-grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(photos / "c-16-bit.png")
    Image.fromarray(grey.astype(np.float32) / 255).save(photos / "d-float.tiff")
    Image.fromarray(grey.astype(np.float32)).save(photos / "e-float255.tiff")
    opaque = Image.fromarray(np.full_like(grey, 255))
    Image.merge("LA", (Image.fromarray(grey), opaque)).save(photos / "f-la.png")
    Image.merge("RGBA", (*[Image.fromarray(grey)] * 3, opaque)).save(photos / "g-rgba.png")
    same = [path.name for path in sorted(photos.iterdir())]
    picture(7).convert("CMYK").save(photos / "cmyk.jpg")
    picture(7).convert("1").save(photos / "one-bit.png")
    palette = picture(7).quantize(16)
    palette.info["transparency"] = 0
    palette.save(photos / "palette.png", transparency=0)
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(photos / "transparent.png")
    done = tiny(photos, "--save", "overlay,raw", "--image-format", "png", "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    items = {item["image"]: item for item in index_of(tmp_path / "out")["items"]}
    assert len(items) == 11
    overlays = {
        name: np.asarray(Image.open(tmp_path / "out" / item["maps"][0]["files"]["overlay"]))
        for name, item in items.items()
    }
    for name in same:  # scaled, not saturated
        assert np.abs(overlays[name].astype(int) - overlays[same[0]].astype(int)).max() <= 2, name
    done = tiny(photos / "transparent.png", "--alpha", 0, "--save", "overlay", "--output-dir", tmp_path / "seen")
    shown = np.asarray(Image.open(tmp_path / "seen" / "overlays/gradcam/transparent.png.jpg"))
    assert shown[32, 32].min() > 250  # white; the border that the model does not see is dimmed


def test_the_first_frame_counts(tiny: Tiny, tmp_path: Path) -> None:
    photos, frames = tmp_path / "photos", [picture(number) for number in (1, 2, 3)]
    photos.mkdir()
    frames[0].save(photos / "a.png")
    for name in ("b.tiff", "c.webp", "d.png", "e.gif"):
        how: dict[str, Any] = {"lossless": True} if name == "c.webp" else {}
        frames[0].save(photos / name, save_all=True, append_images=frames[1:], **how)
    done = tiny(photos, "--save", "overlay", "--image-format", "png", "--output-dir", tmp_path / "out")
    assert done.code == 0, done.err
    items = index_of(tmp_path / "out")["items"]
    assert [item["frames"] for item in items] == [1, 3, 3, 3, 3]
    overlays = [np.asarray(Image.open(tmp_path / "out" / item["maps"][0]["files"]["overlay"])) for item in items]
    for overlay in overlays[1:-1]:
        assert np.array_equal(overlay, overlays[0])
    assert np.abs(overlays[-1].astype(int) - overlays[0].astype(int)).mean() < 20  # GIF has 256 colours
