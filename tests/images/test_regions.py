"""The reader of masks: orientations, modes, refusals; and regions in the geometry of maps and inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camcli.errors import SourceError
from camcli.images import View
from camcli.images.regions import cells_of_region, pixels_of_region, read_mask
from tests.images.test_decode import EXIF_FORMATS, UNDO

FOREGROUND = np.zeros((8, 12), bool)  # no symmetry: every orientation gives another picture
FOREGROUND[1:3, 2:9] = FOREGROUND[3:7, 2:4] = True


def stored(tmp_path: Path, name: str, mask: Image.Image, **options: Any) -> str:
    path = tmp_path / name
    mask.save(path, **options)
    return str(path)


def painted(mode: str, foreground: Any, background: Any) -> Image.Image:
    picture = Image.new(mode, (12, 8), background)
    for y, x in np.argwhere(FOREGROUND):
        picture.putpixel((int(x), int(y)), foreground)
    return picture


@pytest.mark.parametrize("kind", EXIF_FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_mask_is_turned_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    large = Image.fromarray(np.kron(FOREGROUND, np.full((16, 16), 255)).astype(np.uint8))  # whole blocks of a JPEG
    method = UNDO[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    path = stored(
        tmp_path, "mask", large if method is None else large.transpose(method), format=kind, exif=exif, **lossless
    )
    mask = read_mask(path, (8, 12))
    assert mask.dtype == bool
    assert np.array_equal(mask, np.kron(FOREGROUND, np.ones((16, 16), bool)))


@pytest.mark.parametrize(
    ("mode", "foreground", "background", "extension"),
    [
        ("1", 1, 0, "png"), ("L", 7, 0, "png"), ("P", 3, 0, "png"), ("RGB", (0, 0, 9), (0, 0, 0), "png"),
        ("RGBA", (0, 1, 0, 0), (0, 0, 0, 255), "png"), ("LA", (1, 0), (0, 255), "png"),
        ("I;16", 256, 0, "png"), ("I;16B", 256, 0, "tif"), ("I", -70000, 0, "tif"), ("F", 1e-6, 0.0, "tif"),
        ("F", float("inf"), float("nan"), "tif"), ("F", -0.5, -0.0, "tif"),
        ("CMYK", (0, 0, 0, 0), (0, 0, 0, 255), "tif"), ("CMYK", (0, 0, 0, 0), (255, 255, 255, 0), "tif"),
        ("CMYK", (255, 0, 0, 0), (0, 0, 0, 255), "tif"), ("YCbCr", (128, 128, 128), (0, 128, 128), "tif"),
    ],
)  # fmt: skip
def test_what_is_foreground_in_every_mode(
    tmp_path: Path, mode: str, foreground: Any, background: Any, extension: str
) -> None:
    path = stored(tmp_path, f"mask.{extension}", painted(mode, foreground, background))
    with Image.open(path) as opened:
        assert opened.mode == mode, "the file holds the mode that the test is about"
    assert np.array_equal(read_mask(path, (8, 12)), FOREGROUND)


def test_the_index_of_a_palette_counts_and_not_its_colour(tmp_path: Path) -> None:
    picture = painted("P", 1, 0)
    picture.putpalette([255, 255, 255, 0, 0, 0])  # the background is white, the object black
    assert np.array_equal(read_mask(stored(tmp_path, "mask.png", picture), (8, 12)), FOREGROUND)
    transparent = stored(tmp_path, "transparent.png", picture, transparency=1)
    assert np.array_equal(read_mask(transparent, (8, 12)), FOREGROUND)


def test_a_mask_of_other_resolution_is_taken_and_one_of_another_shape_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, "mask.png", painted("L", 255, 0))
    for image in ((8, 12), (16, 24), (4, 6), (81, 120), (803, 1200)):
        assert read_mask(path, image).shape == (8, 12)
    for image in ((12, 8), (30, 10), (8, 8), (600, 1200)):
        with pytest.raises(SourceError) as caught:
            read_mask(path, image)
        assert f"mask {path} has 12×8 pixels and its image {image[1]}×{image[0]}" in str(caught.value)
        assert "A mask covers the whole upright image" in str(caught.value)


def test_a_mask_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"mask .*missing\.png: cannot be read \(No such file"):
        read_mask(str(tmp_path / "missing.png"), (8, 12))
    whole = Path(stored(tmp_path, "whole.png", painted("RGB", (1, 1, 1), (0, 0, 0)))).read_bytes()
    for name, content in (("text.png", b"no image"), ("empty.png", b""), ("cut.png", whole[:50]), ("eps.png", b"%!PS")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=rf"mask .*{name}: cannot be read \(.+\)"):
            read_mask(str(tmp_path / name), (8, 12))


def test_a_turned_mask_covers_the_same_cells_and_pixels_as_the_box(tmp_path: Path) -> None:
    upright = np.zeros((80, 120), np.uint8)
    upright[20:40, 30:90] = 1
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = stored(tmp_path, "mask.png", Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90), exif=exif)
    image, box = (40, 60), (15.0, 10.0, 45.0, 20.0)  # half the mask's size
    for view in (View(0, 0, 60, 40), View(10, 0, 50, 40), View(-10, -20, 70, 60)):
        by_box, by_mask = (cells_of_region(region, image, view, (7, 5)) for region in (box, mask))
        np.testing.assert_allclose(by_mask, by_box, atol=1e-12)
        assert by_mask.sum() * view.width * view.height / 35 == pytest.approx(30 * 10)
        assert np.array_equal(
            pixels_of_region(mask, image, view, (64, 48)), pixels_of_region(box, image, view, (64, 48))
        )


def test_what_the_model_does_not_see_of_a_region_is_left_out(tmp_path: Path) -> None:
    mask = stored(tmp_path, "mask.png", painted("L", 255, 0))
    for region in (mask, (2.0, 1.0, 9.0, 7.0)):
        assert not pixels_of_region(region, (8, 12), View(10, 0, 12, 8), (16, 16)).any()
        assert not cells_of_region(region, (8, 12), View(10, 0, 12, 8), (4, 4)).any()
